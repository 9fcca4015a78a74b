import numpy as np
import pandas as pd

# Two years of orders, made up but always the same
rng = np.random.default_rng(42)
days = pd.date_range("2023-01-01", "2024-12-31", freq="D")
orders = pd.DataFrame(
    {
        "date": rng.choice(days, 20_000),
        "region": rng.choice(["north", "south", "east", "west"], 20_000, p=[0.4, 0.3, 0.2, 0.1]),
        "price": rng.gamma(3.0, 20.0, 20_000).round(2),
        "items": rng.integers(1, 6, 20_000),
    }
)
orders["revenue"] = orders["price"] * orders["items"]
print(orders.describe().round(2))

by_region = orders.groupby("region")["revenue"].agg(["count", "sum", "mean"]).round(2)
print("\nRevenue by region:")
print(by_region.sort_values("sum", ascending=False))

monthly = orders.set_index("date")["revenue"].resample("MS").sum()
best = monthly.idxmax()
print(f"\nBest month: {best:%B %Y} with {monthly.max():,.0f}")

growth = monthly["2024"].sum() / monthly["2023"].sum() - 1
print(f"Growth 2024 over 2023: {growth:+.1%}")

outliers = orders[orders["revenue"] > orders["revenue"].mean() + 3 * orders["revenue"].std()]
print(f"Orders beyond three standard deviations: {len(outliers)} ({len(outliers) / len(orders):.2%})")
by_region["sum"].idxmax()
