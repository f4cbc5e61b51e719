"""What a network is rewarded for: control, images, tables and Gymnasium."""
