"""Tasks that reward networks: control, images, tables and Gymnasium."""
