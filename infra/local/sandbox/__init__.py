"""An upstream that answers on the providers' three real wires without being one, and an inbox for alerts."""
