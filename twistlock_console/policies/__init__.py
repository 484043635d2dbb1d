"""The policies that Defenders enforce, as the database keeps them."""
