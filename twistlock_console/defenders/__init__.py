"""The Defenders as the Console knows them: register, events, certificates, clocks."""
