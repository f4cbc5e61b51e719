"""untrained"""
