/* LLaMA: RMSNorm, RoPE, grouped KV heads, SwiGLU (Touvron et al. 2023; KV groups: Ainslie 2023). */
#include "arch.h"

#define CONFIG(field) offsetof(struct model_config, field)

static const struct arch_key keys[] = {
	{{"num_hidden_layers", "llama.block_count"}, KEY_INT, CONFIG(layers), true, 0},
	{{"hidden_size", "llama.embedding_length"}, KEY_INT, CONFIG(width), true, 0},
	{{"intermediate_size", "llama.feed_forward_length"}, KEY_INT, CONFIG(ffn), true, 0},
	{{"num_attention_heads", "llama.attention.head_count"}, KEY_INT, CONFIG(heads), true, 0},
	{{"num_key_value_heads", "llama.attention.head_count_kv"}, KEY_INT, CONFIG(kv_heads), false,
		0},
	{{"head_dim", "llama.attention.key_length"}, KEY_INT, CONFIG(head_dim), false, 0},
	{{"vocab_size", "llama.vocab_size"}, KEY_INT, CONFIG(vocab), false, 0},
	{{"max_position_embeddings", "llama.context_length"}, KEY_INT, CONFIG(context), true, 0},
	{{"rms_norm_eps", "llama.attention.layer_norm_rms_epsilon"}, KEY_FLOAT, CONFIG(rms_eps),
		true, 0},
	{{"rope_theta", "llama.rope.freq_base"}, KEY_DOUBLE, CONFIG(rope_theta), false, 10000},
};

static const struct arch_fixed_hf fixed_hf[] = {
	{"hidden_act", "\"silu\""},
	{"attention_bias", "false"},
	{"mlp_bias", "false"},
	{"partial_rotary_factor", "1.0"},
	{"quantization_config", "null"},
};

static const struct arch_fixed_gguf fixed_gguf[] = {
	{"llama.expert_count", 0},
};

/* The rotary frequencies that old exports carry follow from rope_theta. */
static const char *const ignored[] = {
	"model.layers.{N}.self_attn.rotary_emb.inv_freq",
	"blk.{N}.attn_rot_embd",
};

static const struct arch_tensor tensors[] = {
	{"embed", {"model.embed_tokens.weight", "token_embd.weight"}, {DIM_V, DIM_D}, TURNED_NOT},
	{"blk.{N}.attn.norm",
		{"model.layers.{N}.input_layernorm.weight", "blk.{N}.attn_norm.weight"}, {DIM_D},
		TURNED_NOT},
	{"blk.{N}.attn.q", {"model.layers.{N}.self_attn.q_proj.weight", "blk.{N}.attn_q.weight"},
		{DIM_Q, DIM_D}, TURNED_Q},
	{"blk.{N}.attn.k", {"model.layers.{N}.self_attn.k_proj.weight", "blk.{N}.attn_k.weight"},
		{DIM_KV, DIM_D}, TURNED_K},
	{"blk.{N}.attn.v", {"model.layers.{N}.self_attn.v_proj.weight", "blk.{N}.attn_v.weight"},
		{DIM_KV, DIM_D}, TURNED_NOT},
	{"blk.{N}.attn.o",
		{"model.layers.{N}.self_attn.o_proj.weight", "blk.{N}.attn_output.weight"},
		{DIM_D, DIM_Q}, TURNED_NOT},
	{"blk.{N}.mlp.norm",
		{"model.layers.{N}.post_attention_layernorm.weight", "blk.{N}.ffn_norm.weight"},
		{DIM_D}, TURNED_NOT},
	{"blk.{N}.mlp.gate", {"model.layers.{N}.mlp.gate_proj.weight", "blk.{N}.ffn_gate.weight"},
		{DIM_F, DIM_D}, TURNED_NOT},
	{"blk.{N}.mlp.up", {"model.layers.{N}.mlp.up_proj.weight", "blk.{N}.ffn_up.weight"},
		{DIM_F, DIM_D}, TURNED_NOT},
	{"blk.{N}.mlp.down", {"model.layers.{N}.mlp.down_proj.weight", "blk.{N}.ffn_down.weight"},
		{DIM_D, DIM_F}, TURNED_NOT},
	{"norm", {"model.norm.weight", "output_norm.weight"}, {DIM_D}, TURNED_NOT},
	{"head", {"lm_head.weight", "output.weight"}, {DIM_V, DIM_D}, TURNED_NOT},
};

const struct arch arch_llama = {
	.name = "llama",
	.hf_type = "llama",
	.hf_class = "LlamaForCausalLM",
	.key = keys,
	.nkey = NELEM(keys),
	.fixed_hf = fixed_hf,
	.nfixed_hf = NELEM(fixed_hf),
	.fixed_gguf = fixed_gguf,
	.nfixed_gguf = NELEM(fixed_gguf),
	.gguf_head_dim = {"llama.rope.dimension_count", "llama.attention.value_length"},
	.ignored = ignored,
	.nignored = NELEM(ignored),
	.tensor = tensors,
	.ntensor = NELEM(tensors),
	.forward = &forward_llama,
};
