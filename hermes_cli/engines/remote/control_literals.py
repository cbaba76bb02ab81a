"""The texts of the control tokens of well-known models, which a server is asked for.

Sources: the tokenizer configurations of the model families on the Hugging Face hub.
"""

from typing import Final

CONTROL_LITERALS: Final = (
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|im_sep|>",
        "<|endoftext|>",
        "<|endofprompt|>",
    ),  # ChatML, GPT, Qwen, Phi
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),  # Qwen
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|quad_start|>", "<|quad_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"),
    *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"),  # Llama 3
    *("<|start_header_id|>", "<|end_header_id|>", "<|finetune_right_pad_id|>"),
    *("<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "[INST]", "[/INST]"),  # Llama 2, Mistral
    *("[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"),  # Gemma
    *("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|tool|>", "<|observation|>"),  # Phi, GLM
    *("<|start|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>"),  # gpt-oss
    *(
        "<|begin▁of▁sentence|>",
        "<|end▁of▁sentence|>",
        "<\uff5cbegin▁of▁sentence\uff5c>",
        "<\uff5cend▁of▁sentence\uff5c>",
    ),
    *("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<|startoftext|>", "<|endofturn|>"),
    *("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),  # Magistral
    *("<|turn>", "<turn|>", "<|channel>", "<channel|>"),  # Gemma 4
    *("<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>"),  # Llama 4
    *("<seed:bos>", "<seed:eos>"),  # Seed-OSS
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>", "<EOS_TOKEN>"),  # Command R
    *("<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
    *("<|start_of_role|>", "<|end_of_role|>", "[gMASK]", "<sop>"),  # Granite, GLM
    *("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]", "[BOS]"),  # EXAONE
    *("<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>"),  # Kimi
)
