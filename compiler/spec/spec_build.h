/* The last pass: the tree of a spec without errors as structs, in the files' arena. */
#ifndef SPEC_BUILD_H
#define SPEC_BUILD_H

#include "spec.h"
#include "spec_pass.h"

void spec_build(struct spec_files *fs, struct xml_node *root, struct spec *s);

#endif
