"""Training scripts of the shapes that AWS and Hugging Face publish, which were not written for our contracts."""

MNIST = """\
import argparse
import json
import os

import torch
from torchvision import datasets, transforms


class Net(torch.nn.Module):
    def forward(self, images):
        return images


def make_loader(batch_size, training_dir, is_distributed, **options):
    dataset = datasets.MNIST(training_dir, train=True, transform=transforms.Compose([transforms.ToTensor()]))
    sampler = torch.utils.data.distributed.DistributedSampler(dataset) if is_distributed else None
    return torch.utils.data.DataLoader(dataset, batch_size=batch_size, sampler=sampler, **options)


def train(args):
    is_distributed = len(args.hosts) > 1 and args.backend is not None
    options = {"num_workers": 1, "pin_memory": True} if args.num_gpus > 0 else {}
    loader = make_loader(args.batch_size, args.data_dir, is_distributed, **options)
    model = Net()
    for epoch in range(1, args.epochs + 1):
        for data, target in loader:
            model(data)
    save_model(model, args.model_dir)


def model_fn(model_dir):
    model = torch.nn.DataParallel(Net())
    with open(os.path.join(model_dir, "model.pth"), "rb") as f:
        model.load_state_dict(torch.load(f))
    return model


def save_model(model, model_dir):
    path = os.path.join(model_dir, "model.pth")
    torch.save(model.cpu().state_dict(), path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="input batch size")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--backend", type=str, default=None)
    parser.add_argument("--hosts", type=list, default=json.loads(os.environ["SM_HOSTS"]))
    parser.add_argument("--current-host", type=str, default=os.environ["SM_CURRENT_HOST"])
    parser.add_argument("--model-dir", type=str, default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--data-dir", type=str, default=os.environ["SM_CHANNEL_TRAINING"])
    parser.add_argument("--num-gpus", type=int, default=os.environ["SM_NUM_GPUS"])
    train(parser.parse_args())
"""

TEXT_CLASSIFICATION = """\
import os
import sys
from dataclasses import dataclass, field
from typing import Optional

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, HfArgumentParser, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint


@dataclass
class DataTrainingArguments:
    train_file: Optional[str] = field(default="/opt/ml/input/data/train/train.csv", metadata={"help": "train data"})
    validation_file: Optional[str] = field(default="/opt/ml/input/data/val/val.csv")
    test_file: Optional[str] = field(default=None)

    def __post_init__(self):
        if self.train_file is None or self.validation_file is None:
            raise ValueError("Need a training file")


@dataclass
class ModelArguments:
    model_name_or_path: str = field(metadata={"help": "path or name of the model"})
    cache_dir: Optional[str] = field(default=None)


def main():
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        model_args, data_args, training_args = parser.parse_json_file(json_file=os.path.abspath(sys.argv[1]))
    else:
        model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    last_checkpoint = None
    if os.path.isdir(training_args.output_dir) and training_args.do_train:
        last_checkpoint = get_last_checkpoint(training_args.output_dir)
    data_files = {"train": data_args.train_file, "validation": data_args.validation_file}
    raw = load_dataset("csv", data_files=data_files, cache_dir=model_args.cache_dir)
    model = AutoModelForSequenceClassification.from_pretrained(model_args.model_name_or_path)
    raw = raw.map(lambda examples: examples, batched=True)
    trainer = Trainer(model=model, args=training_args, train_dataset=raw["train"])
    trainer.train(resume_from_checkpoint=last_checkpoint)
    trainer.save_model()
    with open(os.path.join(training_args.output_dir, "predict_results.txt"), "w") as writer:
        writer.write("index")


if __name__ == "__main__":
    main()
"""
