"""Build Herald's images, and the test images beside them, on a machine that may reach no image registry.

    from tools import images
    built = images.build(["gateway", "agent"])
    built["gateway"].name       # localhost/herald/gateway:dev-<hash of all that goes into it>
    built["gateway"].archive    # an OCI archive, for `ctr images import` and its like

What was built once is not built again: an image is named by its content and kept under
`${XDG_CACHE_HOME}/herald/images`.
`python -m tools.images --help` is the same for people.
"""

from tools.images.building import Image, build, built
from tools.images.targets import TARGETS
from tools.images.trouble import Trouble

__all__ = ["TARGETS", "Image", "Trouble", "build", "built"]
