prices = {"tea": 3.5, "coffee": 4.25, "cake": 5.0}
print("items:", len(prices))
order = ["tea", "cake", "juice"]
print("order:", order)
total = sum(prices[item] for item in order)
print("total:", total)
discount = total * 0.1
print("discount:", discount)
to_pay = total - discount
print("to pay:", round(to_pay, 2))
each = to_pay / len(order)
print("each:", round(each, 2))
receipt = ", ".join(order)
print("receipt:", receipt)
print("thank you")
