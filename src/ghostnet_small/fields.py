"""Marks of a setting, as ``metadata`` of its field: its part in the hash of a recipe."""

# The setting says where an experiment runs, not which one it is: it never counts. Data, teachers
# and weights to start from have fingerprints of their own.
PLACE = {"place": True}
# The setting came after the first records. It counts where it differs from its default, so that
# those records keep their hashes.
LATER = {"later": True}
