import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

t = np.linspace(0, 10, 1_000)
damped = np.exp(-t / 4) * np.cos(2 * np.pi * t)
noise = np.random.default_rng(1).normal(0, 0.1, t.size)
print(f"signal-to-noise ratio: {damped.var() / noise.var():.1f}")

window = np.hanning(41)
smooth = np.convolve(damped + noise, window / window.sum(), mode="same")
print(f"error before smoothing {np.abs(noise).mean():.4f}, after {np.abs(smooth - damped).mean():.4f}")

fig, (above, below) = plt.subplots(2, 1, figsize=(8, 6), sharex=True)
above.plot(t, damped + noise, lw=0.5, label="measured")
above.plot(t, smooth, label="smoothed")
above.legend()
below.plot(t, smooth - damped, color="tab:red")
below.set(xlabel="time (s)", ylabel="error")
fig.suptitle("A damped oscillation")
fig.savefig("oscillation.png", dpi=120)
print("saved oscillation.png")
