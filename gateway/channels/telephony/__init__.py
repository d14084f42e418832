"""Telephone calls over carriers' media streams.

``carrier`` is the seam, with the codecs that carriers use, and each carrier a file behind it
(``media_stream`` is what five of them share). ``channel`` joins a carrier to a socket. ``clocks``:
what the caller has heard; ``facts``: what the customer sends along.
"""
