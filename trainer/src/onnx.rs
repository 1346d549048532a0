//! The network as ONNX graphs: streaming and window form, backbone and head.
