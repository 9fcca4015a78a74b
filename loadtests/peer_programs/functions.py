def mean(values):
    return sum(values) / len(values)


def variance(values):
    center = mean(values)
    return sum((value - center) ** 2 for value in values) / (len(values) - 1)


samples = {"a": [1.0, 2.0, 4.0], "b": [3.0, 3.5, 5.0], "c": [2.0, 8.0, 8.5]}
for name in sorted(samples):
    values = samples[name]
    print(name, round(mean(values), 3), round(variance(values), 3))
best = max(samples, key=lambda name: mean(samples[name]))
print("best:", best)
worst = min(samples, key=lambda name: mean(samples[name]))
print("worst:", worst)
if best != worst:
    print("they differ")
else:
    print("they are the same")
