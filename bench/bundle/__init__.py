"""What a bundle costs, beside a frozen network and beside Tent in PyTorch, on this machine."""
