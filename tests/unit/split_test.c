#include "test.h"
TEST(todo_split){}
