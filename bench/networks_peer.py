"""FaceNet, FCRN and MTCNN in PyTorch at its best (traced, frozen, channels last), driven line by line by bench/networks.mjs."""
import json
import struct
import sys
import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = torch.from_numpy(np.frombuffer(data[begin:end], dtype=np.float32).reshape(entry["shape"]).copy())
    return tensors


class Fcrn(nn.Module):
    """Laina et al. 2016 with the authors' variables; batch norms stay modules, as freezing folds them."""

    def __init__(self, variables):
        super().__init__()
        self.variables = variables
        self.layers = nn.ModuleDict()

        def conv(name, norm, stride=1, padding=None, biased=False):
            weight = variables[name + "/weights"].permute(3, 2, 0, 1).contiguous()
            out, inputs, height, width = weight.shape
            layer = nn.Conv2d(inputs, out, (height, width), stride, (height - 1) // 2 if padding is None else padding, bias=biased)
            layer.weight.data = weight
            if biased:
                layer.bias.data = variables[name + "/biases"]
            self.layers[name] = nn.Sequential(layer, batch_norm(norm)) if norm else layer

        def batch_norm(name):
            layer = nn.BatchNorm2d(len(variables[name + "/mean"]), eps=1e-4)
            layer.weight.data, layer.bias.data = variables[name + "/scale"], variables[name + "/offset"]
            layer.running_mean, layer.running_var = variables[name + "/mean"], variables[name + "/variance"]
            return layer

        conv("conv1", "bn_conv1", 2, biased=True)
        self.blocks = []
        for stage, count in ((2, 3), (3, 4), (4, 6), (5, 3)):
            for i in range(count):
                name, stride = f"{stage}{chr(97 + i)}", 2 if i == 0 and stage > 2 else 1
                if i == 0:
                    conv(f"res{name}_branch1", f"bn{name}_branch1", stride)
                conv(f"res{name}_branch2a", f"bn{name}_branch2a", stride)
                conv(f"res{name}_branch2b", f"bn{name}_branch2b")
                conv(f"res{name}_branch2c", f"bn{name}_branch2c")
                self.blocks.append((f"res{name}", i == 0))
        conv("layer1", "layer1_BN", biased=True)
        for name in ("layer2x", "layer4x", "layer8x", "layer16x"):
            for branch in ("br1", "br2"):
                for quarter in "ABCD":
                    conv(f"{name}_{branch}_Conv{quarter}", None, padding=0, biased=True)
                self.layers[f"{name}_{branch}_BN"] = batch_norm(f"{name}_{branch}_BN")
            conv(f"{name}_Conv", f"{name}_BN", biased=True)
        conv("ConvPred", None, biased=True)

    def unpool(self, name, x):
        layer = lambda quarter, padding: self.layers[f"{name}_Conv{quarter}"](F.pad(x, padding))
        a, b, c, d = layer("A", (1, 1, 1, 1)), layer("B", (1, 1, 1, 0)), layer("C", (1, 0, 1, 1)), layer("D", (1, 0, 1, 0))
        n, channels, height, width = a.shape
        left, right = torch.stack((a, b), 3), torch.stack((c, d), 3)  # n, channels, height, 2, width
        return self.layers[f"{name}_BN"](torch.stack((left, right), 5).reshape(n, channels, 2 * height, 2 * width))

    def forward(self, x):
        x = F.relu(self.layers["conv1"](x))
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)
        for name, first in self.blocks:
            y = F.relu(self.layers[name + "_branch2a"](x))
            y = self.layers[name + "_branch2c"](F.relu(self.layers[name + "_branch2b"](y)))
            x = F.relu(y + (self.layers[name + "_branch1"](x) if first else x))
        x = self.layers["layer1"](x)
        for name in ("layer2x", "layer4x", "layer8x", "layer16x"):
            y = self.layers[f"{name}_Conv"](F.relu(self.unpool(f"{name}_br1", x)))
            x = F.relu(y + self.unpool(f"{name}_br2", x))
        return F.relu(self.layers["ConvPred"](x))


def load(command):
    variables = read_safetensors(command["weights"])
    n, kind = command["count"], torch.bfloat16 if command["precision"] == "bf16" else torch.float32
    if command["network"] == "fcrn":
        net, shape = Fcrn(variables), (n, 3, 228, 304)
    else:
        from facenet_pytorch import InceptionResnetV1

        net, shape = InceptionResnetV1(classify=False), (n, 3, 160, 160)
        net.load_state_dict(variables)
    pixels = torch.from_numpy(np.frombuffer(open(command["pixels"], "rb").read(), dtype=np.uint8).reshape(n, shape[2], shape[3], 3).copy())
    x = pixels.permute(0, 3, 1, 2).float()
    if command["network"] == "facenet":
        x = (x - 127.5) / 128
    net = net.eval().to(kind).to(memory_format=torch.channels_last)
    x = x.to(kind).contiguous(memory_format=torch.channels_last)
    frozen = torch.jit.freeze(torch.jit.trace(net, x))
    for _ in range(5):
        answer = frozen(x)
    return lambda: frozen(x), answer.float().flatten().tolist()


torch.set_num_threads(int(sys.argv[1]))
run = None
with torch.no_grad():
    for line in sys.stdin:
        command = json.loads(line)
        if "network" in command:
            run, answer = load(command)
            reply = {"version": torch.__version__, "threads": torch.get_num_threads(), "answer": answer}
        elif "photo" in command:
            from facenet_pytorch import MTCNN
            from PIL import Image

            detector, photo = MTCNN(keep_all=True), Image.open(command["photo"]).convert("RGB")
            for _ in range(2):
                boxes, _ = detector.detect(photo)
            run, reply = (lambda: detector.detect(photo)), {"version": torch.__version__, "boxes": boxes.tolist()}
        else:
            start = time.perf_counter()
            run()
            reply = (time.perf_counter() - start) * 1e6
        print(json.dumps(reply), flush=True)
