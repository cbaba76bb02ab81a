"""What hermes is measured beside, each as short as it can be written."""
