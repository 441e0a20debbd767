"""What commands and long computations share: time, memory, cores, devices, signals, tables."""
