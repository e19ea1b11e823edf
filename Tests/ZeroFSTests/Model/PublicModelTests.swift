import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

/// The configurations of public models, in numbers: which are served, which with a warning, which are refused and why.
@Suite struct PublicModelTests {
  enum Outcome: Equatable, CustomTestStringConvertible {
    case served
    /// With a warning that has this in it.
    case warned(String)
    /// With a limit of the sequences' length that the model's positions exceed.
    case upTo(Int)
    /// For this feature.
    case refused(String)
    case unknown

    var testDescription: String { "\(self)" }
  }

  private static func outcome(_ json: String) throws -> Outcome {
    let file = try ConfigurationFile(contents: Array(json.utf8), path: "config.json")
    do {
      let family = try ModelFamily(servedBy: file)
      let c = try ModelConfiguration(file, keys: family.keys)
      let table: ParameterTable
      do throws(ModelFamily.Refusal) {
        table = try ParameterTable(family, c, isTied: c.tieWordEmbeddings) { _ in false }
      } catch { return .refused(error.feature) }
      let limits = table.architecture.sequenceLimits.filter { $0.tokens < c.maxPositionEmbeddings }
      if let limit = limits.map(\.tokens).min() { return .upTo(limit) }
      return table.architecture.warnings.first.map(Outcome.warned) ?? .served
    } catch let error as ModelError {
      switch error {
      case .unsupported(let feature, _, _):
        #expect(error.exitStatus == .model)
        return .refused(feature)
      case .unknownModelType:
        #expect(error.exitStatus == .family)
        return .unknown
      default: throw error
      }
    }
  }

  private static func sizes(
    _ h: Int, _ f: Int, _ layers: Int, _ heads: Int, _ kv: Int, _ v: Int, _ positions: Int
  )
    -> String
  {
    #""hidden_size":\#(h),"intermediate_size":\#(f),"num_hidden_layers":\#(layers),"num_attention_heads":\#(heads),"num_key_value_heads":\#(kv),"vocab_size":\#(v),"max_position_embeddings":\#(positions)"#
  }

  private static let llama3 =
    #""rope_scaling":{"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192,"rope_type":"llama3"}"#

  /// Hidden size, FFN, layers, heads, key-value heads, vocabulary, positions; what else tells.
  static let models: [(name: String, outcome: Outcome, json: String)] = [
    (
      "meta-llama/Llama-2-7b-hf", .served,
      #""model_type":"llama",\#(sizes(4096, 11008, 32, 32, 32, 32000, 4096))"#
    ),
    (
      "meta-llama/Meta-Llama-3-8B", .served,
      #""model_type":"llama",\#(sizes(4096, 14336, 32, 32, 8, 128256, 8192)),"rope_theta":500000.0"#
    ),
    (
      "meta-llama/Llama-3.1-8B", .warned("rope_scaling \"llama3\""),
      #""model_type":"llama",\#(sizes(4096, 14336, 32, 32, 8, 128256, 131072)),"rope_theta":500000.0,\#(llama3)"#
    ),
    (
      "meta-llama/Llama-3.3-70B-Instruct", .warned("rope_scaling \"llama3\""),
      #""model_type":"llama",\#(sizes(8192, 28672, 80, 64, 8, 128256, 131072)),"rope_theta":500000.0,\#(llama3)"#
    ),
    (
      "codellama/CodeLlama-7b-hf", .served,
      #""model_type":"llama",\#(sizes(4096, 11008, 32, 32, 32, 32016, 16384)),"rope_theta":1000000"#
    ),
    (
      "TinyLlama/TinyLlama-1.1B-Chat-v1.0", .served,
      #""model_type":"llama",\#(sizes(2048, 5632, 22, 32, 4, 32000, 2048))"#
    ),
    (
      "HuggingFaceTB/SmolLM2-135M", .served,
      #""model_type":"llama",\#(sizes(576, 1536, 30, 9, 3, 49152, 8192)),"rope_theta":100000,"tie_word_embeddings":true"#
    ),
    (
      "tiiuae/Falcon3-7B-Base", .served,
      #""model_type":"llama",\#(sizes(3072, 23040, 28, 12, 4, 131072, 32768)),"head_dim":256,"rope_theta":1000042"#
    ),
    (
      "01-ai/Yi-6B", .served,
      #""model_type":"llama",\#(sizes(4096, 11008, 32, 32, 4, 64000, 4096)),"rope_theta":5000000.0"#
    ),
    (
      "deepseek-ai/deepseek-coder-6.7b-base", .warned("rope_scaling \"linear\""),
      #""model_type":"llama",\#(sizes(4096, 11008, 32, 32, 32, 32256, 16384)),"rope_theta":100000,"rope_scaling":{"factor":4.0,"type":"linear"}"#
    ),
    (
      "lmsys/longchat (dynamic)", .served,
      #""model_type":"llama",\#(sizes(4096, 11008, 32, 32, 32, 32000, 4096)),"rope_scaling":{"factor":2.0,"type":"dynamic"}"#
    ),
    (
      "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", .warned("rope_scaling \"llama3\""),
      #""model_type":"llama",\#(sizes(4096, 14336, 32, 32, 8, 128256, 131072)),"rope_theta":500000.0,\#(llama3)"#
    ),
    (
      "mistralai/Mistral-7B-v0.1", .upTo(4096),
      #""model_type":"mistral",\#(sizes(4096, 14336, 32, 32, 8, 32000, 32768)),"sliding_window":4096"#
    ),
    (
      "mistralai/Mistral-7B-v0.3", .served,
      #""model_type":"mistral",\#(sizes(4096, 14336, 32, 32, 8, 32768, 32768)),"sliding_window":null,"rope_theta":1000000.0"#
    ),
    (
      "mistralai/Mistral-Large-Instruct-2407", .served,
      #""model_type":"mistral",\#(sizes(12288, 28672, 88, 96, 8, 32768, 131072)),"sliding_window":null,"rope_theta":1000000.0"#
    ),
    (
      "mistralai/Mistral-Nemo-Base-2407", .served,
      #""model_type":"mistral",\#(sizes(5120, 14336, 40, 32, 8, 131072, 128000)),"head_dim":128,"sliding_window":null,"rope_theta":1000000.0"#
    ),
    (
      "HuggingFaceH4/zephyr-7b-beta", .upTo(4096),
      #""model_type":"mistral",\#(sizes(4096, 14336, 32, 32, 8, 32000, 32768)),"sliding_window":4096"#
    ),
    (
      "mistralai/Mixtral-8x7B-v0.1", .refused("mixtral's experts"),
      #""model_type":"mixtral",\#(sizes(4096, 14336, 32, 32, 8, 32000, 32768)),"num_local_experts":8"#
    ),
    (
      "Qwen/Qwen2.5-7B", .served,
      #""model_type":"qwen2",\#(sizes(3584, 18944, 28, 28, 4, 152064, 131072)),"rope_theta":1000000.0,"sliding_window":131072,"use_sliding_window":false,"max_window_layers":28"#
    ),
    (
      "Qwen/Qwen2-0.5B", .served,
      #""model_type":"qwen2",\#(sizes(896, 4864, 24, 14, 2, 151936, 131072)),"rope_theta":1000000.0,"tie_word_embeddings":true,"sliding_window":131072,"use_sliding_window":false,"max_window_layers":24"#
    ),
    (
      "Qwen/Qwen2.5-7B with windows", .upTo(32768),
      #""model_type":"qwen2",\#(sizes(3584, 18944, 28, 28, 4, 152064, 131072)),"sliding_window":32768,"use_sliding_window":true,"max_window_layers":20"#
    ),
    (
      "Qwen/QwQ-32B", .served,
      #""model_type":"qwen2",\#(sizes(5120, 27648, 64, 40, 8, 152064, 40960)),"rope_theta":1000000.0,"sliding_window":32768,"use_sliding_window":false"#
    ),
    (
      "Qwen/Qwen3-8B", .refused("q_norm and k_norm"),
      #""model_type":"qwen3",\#(sizes(4096, 12288, 36, 32, 8, 151936, 40960)),"head_dim":128"#
    ),
    (
      "Qwen/Qwen3-30B-A3B", .refused("qwen3_moe's experts"),
      #""model_type":"qwen3_moe",\#(sizes(2048, 6144, 48, 32, 4, 151936, 40960))"#
    ),
    (
      "ByteDance-Seed/Seed-OSS-36B-Base", .served,
      #""model_type":"seed_oss",\#(sizes(5120, 27648, 64, 80, 8, 155136, 524288)),"head_dim":128,"rope_theta":10000000.0,"attention_bias":true,"attention_out_bias":false"#
    ),
    (
      "microsoft/Phi-3-mini-4k-instruct", .upTo(2047),
      #""model_type":"phi3",\#(sizes(3072, 8192, 32, 32, 32, 32064, 4096)),"sliding_window":2047,"rope_scaling":null"#
    ),
    (
      "microsoft/phi-4", .served,
      #""model_type":"phi3",\#(sizes(5120, 17920, 40, 40, 10, 100352, 16384)),"sliding_window":null,"rope_theta":250000"#
    ),
    (
      "microsoft/Phi-4-mini-instruct", .upTo(4096),
      #""model_type":"phi3",\#(sizes(3072, 8192, 32, 24, 8, 200064, 131072)),"sliding_window":262144,"original_max_position_embeddings":4096,"partial_rotary_factor":0.75,"tie_word_embeddings":true,"rope_scaling":{"type":"longrope","short_factor":[1,1,1,1],"long_factor":[1,1.1,1.2,1.3]}"#
    ),
    (
      "microsoft/Phi-3-mini-128k-instruct", .warned("rope_scaling \"longrope\""),
      #""model_type":"phi3",\#(sizes(3072, 8192, 32, 32, 32, 32064, 131072)),"sliding_window":262144,"original_max_position_embeddings":4096,"rope_scaling":{"type":"longrope","short_factor":[1.05,1.1],"long_factor":[1.03,1.05]}"#
    ),
    (
      "microsoft/phi-2", .refused("phi's parallel residual"),
      #""model_type":"phi",\#(sizes(2560, 10240, 32, 32, 32, 51200, 2048))"#
    ),
    (
      "openai-community/gpt2", .served,
      #""model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"n_positions":1024,"vocab_size":50257,"n_inner":null,"activation_function":"gelu_new""#
    ),
    (
      "bigcode/starcoderbase-1b", .served,
      #""model_type":"gpt_bigcode","n_embd":2048,"n_layer":24,"n_head":16,"n_positions":8192,"n_inner":8192,"vocab_size":49152,"multi_query":true,"activation_function":"gelu_pytorch_tanh""#
    ),
    (
      "bigcode/starcoder2-3b", .warned("rope_theta 999999.4420358813"),
      #""model_type":"starcoder2",\#(sizes(3072, 12288, 30, 24, 2, 49152, 16384)),"sliding_window":null,"rope_theta":999999.4420358813,"norm_epsilon":1e-05,"use_bias":true"#
    ),
    (
      "bigcode/starcoder2-7b", .upTo(4096),
      #""model_type":"starcoder2",\#(sizes(4608, 18432, 32, 36, 4, 49152, 16384)),"sliding_window":4096,"rope_theta":1000000,"use_bias":true"#
    ),
    (
      "EleutherAI/gpt-neo-1.3B", .upTo(256),
      #""model_type":"gpt_neo","hidden_size":2048,"num_layers":24,"num_heads":16,"max_position_embeddings":2048,"vocab_size":50257,"window_size":256,"attention_types":[[["global","local"],12]]"#
    ),
    (
      "EleutherAI/pythia-1.4b", .refused("use_parallel_residual"),
      #""model_type":"gpt_neox",\#(sizes(2048, 8192, 24, 16, 16, 50304, 2048)),"rotary_pct":0.25,"rotary_emb_base":10000,"use_parallel_residual":true"#
    ),
    (
      "togethercomputer/RedPajama-INCITE-Base-3B-v1", .served,
      #""model_type":"gpt_neox",\#(sizes(2560, 10240, 32, 32, 32, 50432, 2048)),"rotary_pct":1.0,"rotary_emb_base":10000,"use_parallel_residual":false"#
    ),
    (
      "stabilityai/stablelm-3b-4e1t", .served,
      #""model_type":"stablelm",\#(sizes(2560, 6912, 32, 32, 32, 50304, 4096)),"rope_pct":0.25,"use_qkv_bias":false"#
    ),
    (
      "stabilityai/stablelm-2-1_6b", .served,
      #""model_type":"stablelm",\#(sizes(2048, 5632, 24, 32, 32, 100352, 4096)),"partial_rotary_factor":0.25,"use_qkv_bias":true"#
    ),
    (
      "stabilityai/stablelm-2-12b", .refused("use_parallel_residual"),
      #""model_type":"stablelm",\#(sizes(5120, 13824, 40, 32, 8, 100352, 4096)),"partial_rotary_factor":0.25,"use_parallel_residual":true,"qk_layernorm":true"#
    ),
    (
      "allenai/OLMo-1B-hf", .served,
      #""model_type":"olmo",\#(sizes(2048, 8192, 16, 16, 16, 50304, 2048)),"clip_qkv":null,"tie_word_embeddings":true"#
    ),
    (
      "allenai/OLMo-7B-0424-hf", .refused("clip_qkv"),
      #""model_type":"olmo",\#(sizes(4096, 11008, 32, 32, 32, 50304, 4096)),"clip_qkv":8.0"#
    ),
    (
      "allenai/OLMo-2-1124-7B", .refused("olmo2's norms behind attention and MLP"),
      #""model_type":"olmo2",\#(sizes(4096, 11008, 32, 32, 32, 100352, 4096))"#
    ),
    (
      "ibm-granite/granite-3.1-2b-base", .served,
      #""model_type":"granite",\#(sizes(2048, 8192, 40, 32, 8, 49152, 131072)),"rope_theta":5000000.0,"tie_word_embeddings":true,"attention_multiplier":0.015625,"embedding_multiplier":12.0,"residual_multiplier":0.22,"logits_scaling":8.0"#
    ),
    (
      "nvidia/Minitron-4B-Base", .served,
      #""model_type":"nemotron",\#(sizes(3072, 9216, 32, 24, 8, 256000, 4096)),"head_dim":128,"partial_rotary_factor":0.5,"hidden_act":"relu2","norm_eps":1e-05"#
    ),
    (
      "arcee-ai/AFM-4.5B", .warned("rope_scaling \"yarn\""),
      #""model_type":"arcee",\#(sizes(2560, 18432, 36, 20, 4, 128004, 65536)),"rope_scaling":{"rope_type":"yarn","factor":20.0,"original_max_position_embeddings":4096,"mscale":1.0,"beta_fast":32.0,"beta_slow":1.0}"#
    ),
    (
      "kyutai/helium-1-2b", .served,
      #""model_type":"helium",\#(sizes(2048, 8192, 28, 16, 8, 64000, 4096)),"head_dim":128,"rope_theta":20000.0"#
    ),
    (
      "baidu/ERNIE-4.5-0.3B-PT", .served,
      #""model_type":"ernie4_5",\#(sizes(1024, 3072, 18, 16, 2, 103424, 131072)),"head_dim":128,"use_bias":false,"rope_theta":500000.0"#
    ),
    (
      "THUDM/glm-4-9b-chat-hf", .served,
      #""model_type":"glm",\#(sizes(4096, 13696, 40, 32, 2, 151552, 131072)),"head_dim":128,"attention_bias":true,"partial_rotary_factor":0.5,"rms_norm_eps":1.5625e-07"#
    ),
    (
      "THUDM/GLM-4-9B-0414", .refused("glm4's norms behind attention and MLP"),
      #""model_type":"glm4",\#(sizes(4096, 13696, 40, 32, 2, 151552, 32768))"#
    ),
    (
      "internlm/internlm2_5-7b", .served,
      #""model_type":"internlm2",\#(sizes(4096, 14336, 32, 32, 8, 92544, 32768)),"bias":false,"rope_theta":1000000,"rope_scaling":{"factor":2.0,"type":"dynamic"},"architectures":["InternLM2ForCausalLM"],"auto_map":{"AutoModelForCausalLM":"modeling_internlm2.InternLM2ForCausalLM"}"#
    ),
    (
      "baichuan-inc/Baichuan-7B", .served,
      #""model_type":"baichuan",\#(sizes(4096, 11008, 32, 32, 32, 64000, 4096)),"architectures":["BaiChuanForCausalLM"]"#
    ),
    (
      "baichuan-inc/Baichuan2-7B-Base", .refused("NormHead"),
      #""model_type":"baichuan",\#(sizes(4096, 11008, 32, 32, 32, 125696, 4096)),"architectures":["BaichuanForCausalLM"],"model_max_length":4096"#
    ),
    (
      "baichuan-inc/Baichuan-13B-Base", .refused("ALiBi"),
      #""model_type":"baichuan",\#(sizes(5120, 13696, 40, 40, 40, 64000, 4096)),"architectures":["BaichuanForCausalLM"],"model_max_length":4096"#
    ),
    (
      "openbmb/MiniCPM-2B-sft-bf16", .served,
      #""model_type":"minicpm",\#(sizes(2304, 5760, 40, 36, 36, 122753, 2048)),"scale_emb":12,"dim_model_base":256,"scale_depth":1.4,"architectures":["MiniCPMForCausalLM"]"#
    ),
    (
      "google/gemma-2b", .refused("gemma's GeGLU"),
      #""model_type":"gemma",\#(sizes(2048, 16384, 18, 8, 1, 256000, 8192))"#
    ),
    (
      "google/gemma-3-1b-pt", .refused("gemma3_text's GeGLU and norms behind attention and MLP"),
      #""model_type":"gemma3_text",\#(sizes(1152, 6912, 26, 4, 1, 262144, 32768))"#
    ),
    (
      "CohereForAI/c4ai-command-r-v01", .refused("cohere's parallel residual"),
      #""model_type":"cohere",\#(sizes(8192, 22528, 40, 64, 64, 256000, 8192))"#
    ),
    (
      "tiiuae/falcon-7b", .refused("falcon's parallel residual"),
      #""model_type":"falcon","hidden_size":4544,"num_hidden_layers":32"#
    ),
    (
      "bigscience/bloom-560m", .refused("bloom's ALiBi"), #""model_type":"bloom","n_embed":1024,"n_layer":24"#
    ),
    ("facebook/opt-125m", .refused("opt's ReLU"), #""model_type":"opt","hidden_size":768"#),
    (
      "HuggingFaceTB/SmolLM3-3B", .refused("smollm3's layers without rotary embeddings"),
      #""model_type":"smollm3","hidden_size":2048"#
    ),
    (
      "deepseek-ai/DeepSeek-V3", .refused("deepseek_v3's multi-head latent attention"),
      #""model_type":"deepseek_v3","hidden_size":7168"#
    ),
    (
      "openai/gpt-oss-20b", .refused("gpt_oss's attention sinks"),
      #""model_type":"gpt_oss","hidden_size":2880"#
    ),
    (
      "state-spaces/mamba-130m-hf", .refused("mamba's state-space layers"),
      #""model_type":"mamba","hidden_size":768"#
    ),
    ("google-t5/t5-small", .refused("t5's encoder"), #""model_type":"t5","d_model":512"#),
    (
      "unsloth/Meta-Llama-3.1-8B-bnb-4bit", .refused("quantization_config (bitsandbytes)"),
      #""model_type":"llama",\#(sizes(4096, 14336, 32, 32, 8, 128256, 131072)),"quantization_config":{"quant_method":"bitsandbytes"}"#
    ),
    ("a family of tomorrow", .unknown, #""model_type":"tomorrow","hidden_size":512"#),
  ]

  @Test(arguments: models.map(\.name)) func isServedOrRefusedForAReason(name: String) throws {
    let model = try #require(Self.models.first { $0.name == name })
    let outcome = try Self.outcome("{\(model.json)}")
    if case (.warned(let text), .warned(let part)) = (outcome, model.outcome) {
      #expect(text.hasPrefix(part))
    } else {
      #expect(outcome == model.outcome)
    }
  }

  @Test func aMissingKeyMeansTheDefaultOfTheClass() throws {
    let mistral = try ConfigurationFile(
      contents: Array(#"{"model_type":"mistral","hidden_size":4096,"num_attention_heads":32}"#.utf8),
      path: "c")
    #expect(try ModelConfiguration(mistral, keys: ModelFamily.mistral.keys).keyValueHeads == 8)
  }
}
