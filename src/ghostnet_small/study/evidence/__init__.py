"""What documents show of trainings: figures within text, tables, pictures, and the queue."""
