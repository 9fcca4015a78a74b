import json
import statistics

rows = [json.loads(line) for line in """
{"city": "Oslo", "temperature": 3.5}
{"city": "Rome", "temperature": 16.2}
{"city": "Cairo", "temperature": 24.9}
{"city": "Lima", "temp": 19.1}
""".strip().splitlines()]
print(f"{len(rows)} rows, cities: {', '.join(row['city'] for row in rows)}")

# The last row has another key: this fails, and the model need not write the rest.
temperatures = [row["temperature"] for row in rows]
print("mean temperature:", statistics.mean(temperatures))

print("median temperature:", statistics.median(temperatures))
spread = max(temperatures) - min(temperatures)
print(f"spread: {spread:.1f} degrees")
above = [row["city"] for row in rows if row["temperature"] > statistics.mean(temperatures)]
print("warmer than the mean:", above)
deviation = {row["city"]: row["temperature"] - statistics.mean(temperatures) for row in rows}
for city, difference in sorted(deviation.items(), key=lambda item: item[1]):
    print(f"{city:<8}{difference:+.1f}")
