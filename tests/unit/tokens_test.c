#include "test.h"
TEST(todo_tokens){}
