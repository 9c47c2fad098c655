"""Cost: what classifying the day's offers costs on each instance, and which one to take. Cheap to import."""

from sortiment.cost.choice import CostRow, InstanceChoice, UnknownSpeed, choose_instance
from sortiment.cost.price_list import Instance, Price, PriceList, PublishedSpeed, load_price_list
from sortiment.cost.speeds import Speed, gather_speeds

CODE_VERSION = "1"

__all__ = [
    "CODE_VERSION",
    "CostRow",
    "Instance",
    "InstanceChoice",
    "Price",
    "PriceList",
    "PublishedSpeed",
    "Speed",
    "UnknownSpeed",
    "choose_instance",
    "gather_speeds",
    "load_price_list",
]
