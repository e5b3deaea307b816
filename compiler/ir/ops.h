/*
 * The op table: OP(ID, name, class, sources, shape rule, gradient rule).
 *
 * Everything that knows ops walks this table: enum, text form, shape check (check.c), gradients
 * (grad.c), interpreter, emitters and the property tests. The class decides how a region pass and an
 * emitter treat an op; only `map` ops need code per op in an emitter, and recipes not even that:
 * they are rewritten into primitive maps (recipe.c) before anything is generated.
 *
 * leaf     input, param, state, const, iota
 * map      elementwise on f32 or i32 registers; sources broadcast by axis name
 * recipe   elementwise, defined by primitive maps alone
 * index    elementwise, reading its source at another index
 * reduce   row reduction over the axes that the result lacks
 * dot, attention, memory, quantise: see the semantics in ir.h
 */
/*  ID            name            class      nsrc  shape        gradient */
OP(INPUT,         "input",         LEAF,      0,   leaf,        none)
OP(PARAM,         "param",         LEAF,      0,   leaf,        none)
OP(STATE,         "state",         LEAF,      0,   leaf,        none)
OP(CONST,         "const",         LEAF,      0,   leaf,        none)
OP(IOTA,          "iota",          LEAF,      0,   iota,        none)

OP(ADD,           "add",           MAP,       2,   arith,       add)
OP(SUB,           "sub",           MAP,       2,   arith,       sub)
OP(MUL,           "mul",           MAP,       2,   arith,       mul)
OP(DIV,           "div",           MAP,       2,   real,        div)
OP(MIN,           "min",           MAP,       2,   arith,       min)
OP(MAX,           "max",           MAP,       2,   arith,       max)
OP(FMA,           "fma",           MAP,       3,   real,        fma)
OP(NEG,           "neg",           MAP,       1,   real,        neg)
OP(SQRT,          "sqrt",          MAP,       1,   real,        sqrt)
OP(RINT,          "rint",          MAP,       1,   real,        zero)
OP(LT,            "lt",            MAP,       2,   compare,     none)
OP(EQ,            "eq",            MAP,       2,   compare,     none)
OP(SELECT,        "select",        MAP,       3,   select,      select)
OP(AND,           "and",           MAP,       2,   bits,        none)
OP(OR,            "or",            MAP,       2,   bits,        none)
OP(SHL,           "shl",           MAP,       2,   bits,        none)
OP(SHR,           "shr",           MAP,       2,   bits,        none)
OP(TO_I32,        "to_i32",        MAP,       1,   to_i32,      none)
OP(TO_F32,        "to_f32",        MAP,       1,   to_f32,      none)
OP(BITS_OF,       "bits_of",       MAP,       1,   to_i32,      none)
OP(FROM_BITS,     "from_bits",     MAP,       1,   to_f32,      none)

OP(EXP,           "exp",           RECIPE,    1,   real,        exp)
OP(LOG,           "log",           RECIPE,    1,   real,        log)
OP(SIN,           "sin",           RECIPE,    1,   real,        sin)
OP(COS,           "cos",           RECIPE,    1,   real,        cos)
OP(CAST,          "cast",          RECIPE,    1,   cast,        cast)
OP(STOP,          "stop",          RECIPE,    1,   same,        zero)

OP(EXPAND,        "expand",        INDEX,     1,   expand,      expand)
OP(FLIP,          "flip",          INDEX,     1,   flip,        flip)

OP(SUM,           "sum",           REDUCE,    1,   reduce,      sum)
OP(RMAX,          "rmax",          REDUCE,    1,   reduce,      zero)

OP(DOT,           "dot",           DOT,       2,   dot,         dot)

OP(QUANTISE,      "quantise",      QUANTISE,  1,   quantise,    none)

OP(GATHER,        "gather",        MEMORY,    2,   gather,      gather)
OP(SCATTER,       "scatter",       MEMORY,    2,   scatter,     none)
OP(PUT,           "put",           MEMORY,    3,   put,         none)
OP(ASSIGN,        "assign",        MEMORY,    2,   assign,      none)

OP(ATTENTION,     "attention",     ATTENTION, 5,   attention,   attention)
OP(ATTENTION_DQ,  "attention_dq",  ATTENTION, 7,   attention_d, none)
OP(ATTENTION_DK,  "attention_dk",  ATTENTION, 7,   attention_d, none)
OP(ATTENTION_DV,  "attention_dv",  ATTENTION, 7,   attention_d, none)
