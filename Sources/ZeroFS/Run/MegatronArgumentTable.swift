/// The arguments that Megatron-DeepSpeed's parser knows, in the order in which its Namespace holds them.
///
/// Source: megatron/arguments.py of the ALCF fork (its `_add_*_args`, read by inspecting the parser) and
/// `deepspeed.add_config_arguments`. The upstream fork's are a subset; choices are the union of both.
///
/// One line per attribute: `dest | kind | default | flags | choices`; columns at the end may be missing.
/// - kind: `int`, `float`, `string`, `bool` (argparse's `type=bool`: any text but "" is True), `on`
///   (store_true), `off` (store_false); followed by `*` or `+` if the flag takes a list, by `+=` if each use
///   adds to the list.
/// - default: as Python prints it; missing means None, and for `on` False, for `off` True.
/// - flags: missing means `--` and the dest with `-` for `_`.
enum MegatronArgumentTable {
  static let text = """
    num_layers | int
    encoder_num_layers | int
    decoder_num_layers | int
    num_experts | int+ | [1]
    mlp_type | string | 'standard'
    topk | int | 1
    expert_interval | int | 2
    hidden_size | int
    ffn_hidden_size | int
    num_attention_heads | int
    num_key_value_heads | int
    kv_channels | int
    max_position_embeddings | int
    use_rotary_position_embeddings | on
    rope_theta | int | 10000 | --rotary-position-embeddings-theta
    rotary_percent | float | 1.0
    add_position_embedding | off |  | --no-position-embedding
    make_vocab_size_divisible_by | int | 128
    normalization | string | 'layernorm' |  | layernorm rmsnorm
    layernorm_epsilon | float | 1e-05
    apply_layernorm_1p | on
    mem_efficient_ln | off |  | --disable-mem-efficient-ln
    apply_residual_connection_post_layernorm | on
    openai_gelu | on
    squared_relu | on
    swiglu | on
    onnx_safe | bool
    bert_binary_head | off |  | --bert-no-binary-head
    num_experts_switch | int
    untie_embeddings_and_output_weights | on
    embedding_weights_in_fp32 | on
    kill_switch_file | string
    attention_dropout | float | 0.1
    hidden_dropout | float | 0.1
    weight_decay | float | 0.01
    start_weight_decay | float
    end_weight_decay | float
    weight_decay_incr_style | string | 'constant' |  | constant linear cosine
    clip_grad | float | 1.0
    sophiag_beta1 | float | 0.9
    sophiag_beta2 | float | 0.95
    sophiag_rho | float | 0.01
    adam_beta1 | float | 0.9
    adam_beta2 | float | 0.999
    adam_eps | float | 1e-08
    dshampooadamw_max_preconditioner_dim | int | 8192
    dshampooadamw_precondition_freq | int | 100
    dshampooadamw_use_decoupled_weight_decay | bool | True
    dshampooadamw_eps | float | 1e-12
    sgd_momentum | float | 0.9
    muon_momentum | float | 0.95
    muon_nesterov | bool | True
    muon_ns_steps | int | 6
    muonadamw_beta1 | float | 0.9
    muonadamw_beta2 | float | 0.999
    muonadamw_eps | float | 1e-12
    muonclip_t | float | 100.0
    muonclip_alpha | float | 0.5
    micro_batch_size | int
    batch_size | int
    global_batch_size | int
    rampup_batch_size | string*
    recompute_activations | on
    recompute_granularity | string |  |  | full selective
    distribute_saved_activations | on
    recompute_method | string |  |  | uniform block
    recompute_num_layers | int | 1
    enable_zbh1_pipeline | on
    enable_zbh1_exact_semantics | on
    checkpoint_activations | on
    distribute_checkpointed_activations | on
    checkpoint_num_layers | int | 1
    train_iters | int
    train_samples | int
    train_tokens | int
    random_ltd | on
    log_interval | int | 100
    exit_interval | int
    exit_duration_in_mins | int
    exit_signal_handler | on
    tensorboard_dir | string
    trace_dir | string | './trace/'
    masked_softmax_fusion | off |  | --no-masked-softmax-fusion
    bias_gelu_fusion | off |  | --no-bias-gelu-fusion
    bias_dropout_fusion | off |  | --no-bias-dropout-fusion
    moe_token_dropping | off |  | --disable-moe-token-dropping
    moe_train_capacity_factor | float | 1.0
    moe_eval_capacity_factor | float | 1.0
    moe_min_capacity | int | 4
    moe_loss_coeff | float | 0.1
    create_moe_param_group | on
    moe_top2_2nd_expert_sampling | off |  | --disable-moe-top2-2nd-expert-sampling
    use_flash_attn_v1 | on |  | --use-flash-attn --use-flash-attn-v1
    use_flash_attn_v2 | on
    use_flash_attn_triton | on
    use_flash_attn_builder | on
    add_bias_linear | off |  | --disable-bias-linear
    optimizer | string | 'adam' |  | adam adam8bit adamw adamwschedulefree apex.adam apex.sgd \
      ds.fusedlamb ds.onebitlamb galoreadamw galoreadamw8bit galoreadamw8bitperlayer ipex.fusedlamb \
      ipex.lamb dshampooadamw sgdschedulefree sophiag adopt muon muonclip sgd
    schedulefree_for_each | on
    dataloader_type | string |  |  | single cyclic
    ds_inference | on
    cpu_optimizer | on
    cpu_torch_adam | on |  | --cpu_torch_adam
    ds_fused_adam | on |  | --ds_fused_adam
    no_pipeline_parallel | on
    use_tutel | on
    inference | on
    async_tensor_model_parallel_allreduce | off |  | --no-async-tensor-model-parallel-allreduce
    no_persist_layer_norm | on
    sequence_parallel | on
    ds_sequence_parallel_size | int | 1
    force_ds_sequence_parallel | on
    gradient_accumulation_fusion | off |  | --no-gradient-accumulation-fusion
    use_dataset_only | bool | False
    train_range_to_skip | int+=
    train_iters_to_skip | string+=
    seed | int | 1234
    data_parallel_random_init | on
    init_method_std | float | 0.02
    adjust_word_embedding_init | on
    word_embedding_init_std | float | 0.02
    init_method_xavier_uniform | on
    lr | float
    lr_decay_style | string | 'linear' |  | constant linear cosine inverse-square-root infinite-cosine \
      infinite-inv-square-root
    lr_decay_iters | int
    lr_decay_samples | int
    lr_decay_tokens | int
    lr_warmup_fraction | float
    lr_warmup_iters | int | 0
    lr_warmup_samples | int | 0
    lr_warmup_tokens | int
    lr_constant_tokens | int
    lr_constant_fraction | float | 0.001
    lr_cooldown_tokens | int
    lr_cooldown_fraction | float | 0.65
    lr_constant_plus_cooldown | on |  | --lr_constant_plus_cooldown
    lr_constant_plus_cooldown_frac | float | 0.05 | --lr_constant_plus_cooldown_frac
    lr_finder | on
    warmup | int
    min_lr | float | 0.0
    constant_lr | float | 0.00011
    timescale | float | 10.0
    override_opt_param_scheduler | on |  | --override-opt_param-scheduler
    use_checkpoint_opt_param_scheduler | on |  | --use-checkpoint-opt_param-scheduler
    save | string
    save_interval | int
    no_save_optim | on | None
    no_save_rng | on | None
    load | string
    load_tag | string
    no_load_optim | on | None
    no_load_rng | on | None
    no_load_lr_state | on
    finetune | on
    perform_initialization | off |  | --no-initialization
    use_checkpoint_args | on
    exit_on_missing_checkpoint | on
    universal_checkpoint | on
    fp16 | on
    bf16 | on
    loss_scale | float
    initial_loss_scale | float | 4294967296
    min_loss_scale | float | 1.0
    loss_scale_window | float | 1000
    hysteresis | int | 2
    fp32_residual_connection | on
    apply_query_key_layer_scaling | off |  | --no-query-key-layer-scaling
    attention_softmax_in_fp32 | on
    accumulate_allreduce_grads_in_fp32 | on
    fp16_lm_cross_entropy | on
    tensor_model_parallel_size | int | 1
    enable_expert_tensor_parallelism | on
    pipeline_model_parallel_size | int | 1
    pipeline_model_parallel_split_rank | int
    moe_expert_parallel_size | int | 1
    model_parallel_size | int
    num_layers_per_virtual_pipeline_stage | int
    overlap_p2p_comm | on |  | --overlap-p2p-communication
    distributed_backend | string | 'nccl' |  | nccl gloo ccl hccl
    distributed_timeout_minutes | int | 10
    DDP_impl | string | 'local' |  | local torch FSDP
    use_contiguous_buffers_in_local_ddp | off |  | --no-contiguous-buffers-in-local-ddp
    scatter_gather_tensors_in_pipeline | off |  | --no-scatter-gather-tensors-in-pipeline
    use_ring_exchange_p2p | on
    local_rank | int |  | --local-rank --local_rank
    lazy_mpu_init | bool
    use_cpu_initialization | on | None
    empty_unused_memory_level | int | 0 |  | 0 1 2
    standalone_embedding_stage | on
    use_distributed_optimizer | on
    eval_iters | int | 100
    eval_interval | int | 1000
    skip_train | on
    aml_data_download_path | string
    data_path | string*
    data_file_list | string
    shuffle_sample_in_corpus | on
    blend_sample_in_corpus | on
    split | string | '969, 30, 1'
    train_data_path | string*
    valid_data_path | string*
    test_data_path | string*
    data_cache_path | string
    vocab_size | int
    vocab_file | string
    merge_file | string
    vocab_extra_ids | int | 0
    seq_length | int
    encoder_seq_length | int
    decoder_seq_length | int
    retriever_seq_length | int | 256
    sample_rate | float | 1.0
    mask_prob | float | 0.15
    short_seq_prob | float | 0.1
    mmap_warmup | on
    num_workers | int | 2
    tokenizer_type | string |  |  | BertWordPieceLowerCase BertWordPieceCase GPT2BPETokenizer \
      SentencePieceTokenizer GPTSentencePieceTokenizer HFTokenizer NullTokenizer Llama2Tokenizer
    tokenizer_model | string
    trust_remote_code | on
    data_impl | string | 'infer' |  | mmap infer
    reset_position_ids | on
    reset_attention_mask | on
    eod_mask_loss | on
    train_data_exact_num_epochs | int
    return_data_index | on
    data_efficiency_curriculum_learning | on
    train_idx_path | string
    train_desc_path | string
    train_doc_idx_path | string
    train_sample_idx_path | string
    train_shuffle_idx_path | string
    repeated_dataloader | on
    multiprocessing_context | string | 'fork'
    adlr_autoresume | on
    adlr_autoresume_interval | int | 1000
    ict_head_size | int
    biencoder_projection_dim | int | 0
    biencoder_shared_query_context_model | on
    ict_load | string
    bert_load | string
    titles_data_path | string
    query_in_block_prob | float | 0.1
    use_one_sent_docs | on
    evidence_data_path | string
    retriever_report_topk_accuracies | int+ | []
    retriever_score_scaling | on
    block_data_path | string
    embedding_path | string
    indexer_batch_size | int | 128
    indexer_log_interval | int | 1000
    num_classes | int | 1000
    img_h | int | 224
    img_w | int | 224
    num_channels | int | 3
    patch_dim | int | 16
    classes_fraction | float | 1.0
    data_per_class_fraction | float | 1.0
    data_sharding | off |  | --no-data-sharding
    head_lr_mult | float | 1.0
    vision_pretraining | on
    vision_pretraining_type | string | 'classify' |  | classify inpaint dino
    vision_backbone_type | string | 'vit' |  | vit mit swin
    swin_backbone_type | string | 'tiny' |  | tiny base h3
    mask_type | string | 'random' |  | random row
    mask_factor | float | 1.0
    iter_per_epoch | int | 1250
    dino_local_img_size | int | 96
    dino_local_crops_number | int | 10
    dino_head_hidden_size | int | 2048
    dino_bottleneck_size | int | 256
    dino_freeze_last_layer | float | 1
    dino_norm_last_layer | on
    dino_warmup_teacher_temp | float | 0.04
    dino_teacher_temp | float | 0.07
    dino_warmup_teacher_temp_epochs | int | 30
    log_params_norm | on
    log_num_zeros_in_grad | on
    timing_log_level | int | 0 |  | 0 1 2
    barrier_with_L1_time | off |  | --no-barrier-with-level-1-timing
    timing_log_option | string | 'minmax' |  | max minmax all
    tensorboard_log_interval | int | 1
    tensorboard_queue_size | int | 1000
    log_timers_to_tensorboard | on
    log_batch_size_to_tensorboard | on
    log_learning_rate_to_tensorboard | off |  | --no-log-learnig-rate-to-tensorboard
    log_loss_scale_to_tensorboard | off |  | --no-log-loss-scale-to-tensorboard
    log_validation_ppl_to_tensorboard | on
    log_optimizer_states_to_tensorboard | on
    log_memory_to_tensorboard | on
    log_world_size_to_tensorboard | on
    wandb_project | string | ''
    wandb_exp_name | string | ''
    wandb_save_dir | string | ''
    zero_stage | int | 1.0
    zero_reduce_scatter | on
    zero_contigious_gradients | on
    zero_reduce_bucket_size | int | 0.0
    zero_allgather_bucket_size | int | 0.0
    remote_device | string | 'none' |  | none cpu nvme
    use_pin_memory | on
    use_mics | on
    scattered_embeddings | on
    split_transformers | on
    memory_centric_tiled_linear | on
    tile_factor | int | 1
    deepspeed_activation_checkpointing | on
    partition_activations | on
    contigious_checkpointing | on
    checkpoint_in_cpu | on
    synchronize_each_layer | on
    profile_backward | on
    num_layers_teacher | int
    num_experts_teacher | int+ | [1]
    hidden_size_teacher | int
    num_attention_heads_teacher | int
    mos | on
    kd | on
    kd_alpha_ce | float | 1
    kd_beta_ce | float | 1
    kd_temp | float | 1.0
    reset_iteration | on
    load_teacher | string
    inference_batch_times_seqlen_threshold | int | 512
    max_tokens_to_oom | int | 12000
    output_bert_embeddings | on
    bert_embedder_type | string | 'megatron' |  | megatron huggingface
    fp8_e4m3 | on
    fp8_hybrid | on
    fp8_wgrad | off |  | --no-fp8-wgrad
    fp8_margin | int | 0
    fp8_interval | int | 1
    transformer_impl | string | 'local' |  | local transformer_engine
    fp8_amax_history_len | int | 1
    fp8_amax_compute_algo | string | 'most_recent' |  | most_recent max
    retro_workdir | string
    retro_add_retriever | on
    retro_cyclic_train_iters | int
    retro_encoder_layers | int | 2
    retro_encoder_hidden_dropout | float | 0.1
    retro_encoder_attention_dropout | float | 0.1
    retro_num_neighbors | int | 2
    retro_num_retrieved_chunks | int | 2
    retro_return_doc_ids | on
    profile | string |  |  | pt pt-full
    profile_steps | string | '2,3' | --profile_steps
    profile_ranks | int+
    deepspeed | on
    deepspeed_config | string |  | --deepspeed_config
    deepscale | on
    deepscale_config | string |  | --deepscale_config
    """
}
