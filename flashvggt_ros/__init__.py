"""Dense visual mapping with FlashVGGT as a ROS 2 package.

The build puts the generated interfaces (``flashvggt_ros.msg``, ``flashvggt_ros.srv``) beside these
modules in one installed package; extending the path lets the source tree find them as well.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
