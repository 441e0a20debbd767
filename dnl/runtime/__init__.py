"""What every long computation and every command shares: time, memory, cores, devices, signals."""
