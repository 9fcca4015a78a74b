readings = [21.5, 22.0, 19.75, 24.25, 20.0, 23.5]
count = len(readings)
print("readings:", count)
total = sum(readings)
mean = total / count
print("mean:", round(mean, 3))
low = min(readings)
high = max(readings)
print("range:", high - low)
spread = sum((value - mean) ** 2 for value in readings)
variance = spread / (count - 1)
print("variance:", round(variance, 3))
ordered = sorted(readings)
middle = (ordered[2] + ordered[3]) / 2
print("median:", middle)
above = [value for value in readings if value > mean]
print("above the mean:", above)
share = len(above) / count
print("share:", share)
