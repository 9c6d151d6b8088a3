"""The runbook that most tests here play: it finds orders that are stuck, and frees them."""

LOOK = """
with kit.postgres(database).cursor() as cursor:
    count = cursor.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone()[0]
    if count:
        kit.finding("critical", f"{count} orders are stuck")
        kit.keep(before=count)
        kit.propose("free-orders", state="stuck", seen=count, reason="they will not free themselves")
"""
FREE = """
state: str  # Which state
seen: int  # How many were seen
kit.gate(
    "free-orders", "Free orders in state {state} on {database}", risk="high", target="{database}", informative=["seen"]
)
with kit.postgres(database).cursor() as cursor:
    cursor.execute("UPDATE orders SET status = 'new' WHERE status = %s", [state])
    print(cursor.rowcount, "freed")
"""
CHECK = """
left = kit.postgres(database).execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone()[0]
kit.check(f"none of {kit.kept.before} is stuck", left == 0)
"""
