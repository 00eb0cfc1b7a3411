"""The textbook's losses: functions that return (value, gradient)."""
