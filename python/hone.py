"""hone.py: compiled models from Python, by ctypes over the C interface (docs/abi.md). Needs NumPy only.

    model = hone.Model("model.so")
    outputs = model(x)                    # NumPy arrays in and out, in model order
    run, (y,) = model.bind(x)             # for calling often: run() reads x and fills y
    model.set_param("exit.threshold", 0.9)
"""
import ctypes as c
import json

import numpy as np

ABI_VERSION = 1
MAX_RANK = 8
_STATUS = ["ok", "argument", "shape", "memory", "cpu", "data", "version"]
# ONNX TensorProto.DataType codes to NumPy; f16 is exact, bf16 and narrower types travel as their bits.
_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
           10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, 16: np.uint16, 17: np.uint8, 18: np.uint8,
           19: np.uint8, 20: np.uint8}


class HoneError(RuntimeError):
    """A call failed; `status` says how (hone_status of hone.h)."""

    def __init__(self, status, text):
        super().__init__(f"{text} ({_STATUS[status] if status < len(_STATUS) else status})")
        self.status = status


class _Dim(c.Structure):
    _fields_ = [("min", c.c_int64), ("max", c.c_int64), ("symbol", c.c_char_p)]


class _Io(c.Structure):
    _fields_ = [("name", c.c_char_p), ("dtype", c.c_int32), ("rank", c.c_int32), ("dims", c.POINTER(_Dim)),
                ("alias", c.c_int32), ("reserved", c.c_void_p)]


class _Tensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("size", c.c_int64), ("dims", c.c_int64 * MAX_RANK), ("rank", c.c_int32),
                ("dtype", c.c_int32), ("reserved", c.c_void_p * 2)]


_Allocate = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_int32, c.c_int64)


class _Options(c.Structure):
    _fields_ = [("size", c.c_uint32), ("threads", c.c_uint32), ("memory", c.c_void_p), ("memory_size", c.c_int64),
                ("parallel_for", c.c_void_p), ("parallel_self", c.c_void_p), ("allocate", _Allocate),
                ("allocate_self", c.c_void_p)]


class _Model(c.Structure):
    pass


_Tensors = c.POINTER(_Tensor)
_Model._fields_ = [
    ("size", c.c_uint32), ("abi_version", c.c_uint32), ("name", c.c_char_p), ("signature", c.c_char_p),
    ("compiler", c.c_char_p), ("passes", c.c_char_p), ("cpu", c.c_char_p), ("hash", c.c_char_p),
    ("input_count", c.c_int32), ("output_count", c.c_int32), ("param_count", c.c_int32), ("reserved_count", c.c_int32),
    ("inputs", c.POINTER(_Io)), ("outputs", c.POINTER(_Io)), ("params", c.c_void_p), ("weight_bytes", c.c_int64),
    ("arena_bytes", c.CFUNCTYPE(c.c_int64, c.POINTER(_Model), _Tensors, c.c_int)),
    ("context_create", c.CFUNCTYPE(c.c_int, c.POINTER(_Model), c.POINTER(_Options), c.POINTER(c.c_void_p), c.c_char_p,
                                   c.c_size_t)),
    ("output_dims", c.CFUNCTYPE(c.c_int, c.c_void_p, _Tensors, _Tensors)),
    ("run", c.CFUNCTYPE(c.c_int, c.c_void_p, _Tensors, _Tensors)),
    ("set_param", c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_double)),
    ("error", c.CFUNCTYPE(c.c_char_p, c.c_void_p)),
    ("context_destroy", c.CFUNCTYPE(None, c.c_void_p)),
]


class Model:
    """A compiled model with one context: for one thread at a time; make a second Model for another thread."""

    def __init__(self, path, threads=1):
        self._context = None
        self._library = c.CDLL(path if "/" in str(path) else f"./{path}")
        self._library.hone_model_get.restype = c.POINTER(_Model)
        self._table = self._library.hone_model_get()
        self._m = self._table.contents
        if self._m.abi_version != ABI_VERSION:
            raise HoneError(6, f"{path} has ABI version {self._m.abi_version}, this module {ABI_VERSION}")
        signature = json.loads(self._m.signature)
        self.name = self._m.name.decode()
        self.inputs, self.outputs, self.params = signature["inputs"], signature["outputs"], signature["params"]
        self._made = {}  # output buffers made during a call, by output number
        self._allocate = _Allocate(self._make_output)
        options = _Options(size=c.sizeof(_Options), threads=threads, allocate=self._allocate)
        context, text = c.c_void_p(), c.create_string_buffer(512)
        status = self._m.context_create(self._table, c.byref(options), c.byref(context), text, len(text))
        if status:
            raise HoneError(status, text.value.decode())
        self._context = context

    def _make_output(self, _, number, size):
        self._made[number] = np.empty(max(size, 1), np.uint8)
        return self._made[number].ctypes.data

    def _inputs(self, arrays):
        """The tensors of these arrays, and the arrays they point into (copies where they were not contiguous)."""
        if len(arrays) != self._m.input_count:
            raise HoneError(1, f"{self.name} takes {self._m.input_count} inputs, found {len(arrays)}")
        inputs = (_Tensor * max(len(arrays), 1))()
        keep = []
        for i, array in enumerate(arrays):
            want = np.dtype(_DTYPES[self._m.inputs[i].dtype])
            a = np.ascontiguousarray(array)
            if a.dtype != want:
                raise HoneError(1, f"input {self.inputs[i]['name']}: expected {want}, found {a.dtype}")
            if np.ndim(array) == 0:
                a = a.reshape(())
            keep.append(a)
            inputs[i] = _Tensor(data=a.ctypes.data, size=a.nbytes, rank=a.ndim, dtype=self._m.inputs[i].dtype)
            inputs[i].dims[: a.ndim] = a.shape
        return inputs, keep

    def _check(self, status):
        if status:
            raise HoneError(status, self._m.error(self._context).decode())

    def __call__(self, *arrays):
        """Runs the model; arrays in model order. Returns a list of outputs."""
        inputs, keep = self._inputs(arrays)
        outputs = (_Tensor * max(self._m.output_count, 1))()
        self._made = {}
        self._check(self._m.run(self._context, inputs, outputs))
        results = []
        for i in range(self._m.output_count):
            t = outputs[i]
            dtype, shape = np.dtype(_DTYPES[t.dtype]), tuple(t.dims[: t.rank])
            count = int(np.prod(shape, dtype=np.int64))
            raw = self._made.get(i, np.empty(0, np.uint8))
            results.append(raw[: count * dtype.itemsize].view(dtype).reshape(shape))
        return results

    def bind(self, *arrays):
        """(run, outputs): run() runs the model on these arrays, which it reads in place each time, and fills `outputs`.

        For calling often: nothing is converted or allocated. The arrays must be contiguous and of the model's types, and
        the outputs' sizes must not depend on data.
        """
        inputs, keep = self._inputs(arrays)
        for i, array in enumerate(arrays):
            if keep[i].ctypes.data != np.asarray(array).ctypes.data:
                raise HoneError(1, f"input {self.inputs[i]['name']} is not contiguous")
        tensors, outputs = (_Tensor * max(self._m.output_count, 1))(), []
        self._check(self._m.output_dims(self._context, inputs, tensors))
        for i in range(self._m.output_count):
            t = tensors[i]
            if t.size < 0:
                raise HoneError(2, f"output {self.outputs[i]['name']}: its size depends on data")
            outputs.append(np.empty(tuple(t.dims[: t.rank]), _DTYPES[t.dtype]))
            t.data, t.size = outputs[i].ctypes.data, outputs[i].nbytes
        call, context, check = self._m.run, self._context, self._check

        def run(keep=(self, keep, outputs)):  # the arrays live as long as the function
            status = call(context, inputs, tensors)
            if status:
                check(status)
        return run, outputs

    def set_param(self, name, value):
        self._check(self._m.set_param(self._context, name.encode(), value))

    def close(self):
        if self._context:
            self._m.context_destroy(self._context)
            self._context = None

    def __del__(self):
        self.close()
