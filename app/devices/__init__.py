"""Devices that an owner had remembered: from there nobody has to wait because strangers guess."""
