"""The way of the data, without torch: from part files to encoded splits. Serving runs on it too."""
