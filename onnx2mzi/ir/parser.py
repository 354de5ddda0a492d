"""The `.mzi` text form read back.

    mzi 1
    program "digits" stage mesh ports 64
    history { "tile" "svd" ... }
    driver bits 6 phase                                 // only if quantized
    host u8[812] @host.model[0:812] {                   // only with a host graph
      input "x" "float32" ["N", 64]
      output "y" "float32" [?, 10]
      electronic "why" loc ...                          // or activation: not linear
    }
    layer "fc1" {
      loc file "digits.onnx" node "/0/Gemm" op "Gemm" tensor "0.weight"
      operand "x" axis -1 binding "fc1.w" "float32" [transposed] [slot 0 of 2]
        [more [-2]] [at [-3: 0]] [part 0 of 2]          // what else a view has
        [window kernel [3] strides [1] dilations [1] pads [1, 1] [same "upper"]]
        [parts stacked]                                 // of complex vectors; or interleaved
        [turn 1 of 36]                                  // one of 36 chips
      uses 1                                            // if known
      copy "fc0"                                        // only of a layer's copies
      folds ["/0/BatchNormalization"]                   // if there are any
      driver bits 4 phase                               // if not as the program's
      weight f64[64, 64] @weight[0:4096]
      grid 64 x 64 {
        tile mesh {                                     // or dense, factored
          outputs i32[64] 0..64
          inputs i32[64] 0..64
          gain 1.25
          readout f64[64] all 0.0
          v ports 4 arm-choice mzis 6 {
            c0 p0 theta 1.5707963267948966 phi -0.5 passive
            c0 p2 theta removed phi removed
            out p3 0.25
          }
          s channels 4 arm-choice { p0 theta removed ... }
          u ports 64 arm-choice mzis 2016 @mzi[0:2016] @out[0:64]
        }
      }
    }
    placement "generic" 1200.0 x 800.0 {                // only if placed
      "fc1" grid 0 tile 0 v y 10.0 pitch 40.0 columns f64[2] [0.0, 300.0]
    }                              // drives f64[...], then lengths f64[...] may follow columns

A shifter is active unless it says `passive` or `removed`; an output phase that is not named is
removed. Arrays are `dtype[shape]` and then `[entries]`, `all entry`, `first..last+1`, or
`@pool[start:stop]`, a run of an array beside the text. `//` starts a comment.
"""

from collections.abc import Mapping

import numpy as np

from onnx2mzi.ir.layer import (
    DenseTile,
    FactoredTile,
    LinearLayer,
    MeshTile,
    Tile,
    TileGrid,
)
from onnx2mzi.ir.lexer import Source
from onnx2mzi.ir.location import Loc
from onnx2mzi.ir.mesh import Attenuators, Mesh
from onnx2mzi.ir.operand import INTERLEAVED, STACKED, WHOLE, Operand, View, Window
from onnx2mzi.ir.placement import BlockPlacement, Placement
from onnx2mzi.ir.printer import ATTENUATOR_FIELDS, DTYPES, FORM, MZI_FIELDS, OUT_FIELDS
from onnx2mzi.ir.program import Electronic, Host, Program, Stage, TensorSpec
from onnx2mzi.ir.reader import LIMIT, Array, Reader
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState


def parse_program(text: str, arrays: Mapping[str, Array], *, file: str = "program") -> Program:
    """The program that `print_program` made `text` and `arrays` from.

    Only the form is checked; `verify` says whether the program is valid. Raises InputError
    with file:line:column, what was expected and what was found.
    """
    return _Parser(Source(text, file), arrays).program()


class _Parser(Reader):
    """The grammar of the module's docstring, one method a construct."""

    # ---- program and host -----------------------------------------------------------------

    def program(self) -> Program:
        self.expect("mzi")
        form = self.here
        if self.integer("the version of the form") != FORM:
            raise self.refuse(form, f"text form {form.text} is unknown; this is form {FORM}")
        self.expect("program")
        name = self.string("the program's name")
        self.expect("stage")
        stage = self.choice({str(stage): stage for stage in Stage})
        self.expect("ports")
        ports = self.integer("a number of ports")
        self.expect("history")
        history = tuple(self.many(lambda: self.string("a pass")))
        driver = self.driver() if self.accept("driver") else None
        host = self.host() if self.here.text == "host" else None
        layers: list[LinearLayer] = []
        while self.accept("layer"):
            layers.append(self.layer())
        placement = self.placement() if self.accept("placement") else None
        if self.here.kind != "end":
            self.fail("'layer', 'placement' or the end of the text")
        return Program(name, stage, ports, tuple(layers), host, placement, history, driver)

    def driver(self) -> DriveCode:
        self.expect("bits")
        bits = self.integer("a number of bits")
        return DriveCode(bits, self.choice({str(law): law for law in CodeLaw}))

    def host(self) -> Host:
        self.expect("host")
        model = self.array("u8").tobytes()
        kinds = {kind: kind for kind in ("input", "output", "electronic", "activation")}
        found: dict[str, list[TensorSpec]] = {"input": [], "output": []}
        electronic: list[Electronic] = []

        def line() -> None:
            kind = self.choice(kinds)
            if kind in ("electronic", "activation"):
                why = self.string("the reason")
                electronic.append(Electronic(self.loc(), why, kind == "electronic"))
            else:
                found[kind].append(self.spec())

        self.many(line)
        return Host(model, tuple(found["input"]), tuple(found["output"]), tuple(electronic))

    def spec(self) -> TensorSpec:
        name = self.string("a tensor's name")
        dtype = self.string("a dtype")
        return TensorSpec(name, dtype, tuple(self.listed(self.dimension)))

    def dimension(self) -> int | str | None:
        if self.accept("?"):
            return None
        if self.here.kind == "string":
            return self.string("a dimension")
        return self.integer("a dimension, a name in quotes, or '?'", -(2**62), 2**62)

    def loc(self) -> Loc:
        self.expect("loc")
        fields = {}
        for name in ("file", "node", "op", "tensor"):
            if self.accept(name):
                fields[name] = self.string(f"the {name}")
        return Loc(**fields)

    # ---- layers and tiles -----------------------------------------------------------------

    def layer(self) -> LinearLayer:
        name = self.string("the layer's name")
        self.expect("{")
        loc = self.loc()
        self.expect("operand")
        operand = self.operand()
        uses = self.integer("a number of uses") if self.accept("uses") else None
        copy_of = self.string("a layer's name") if self.accept("copy") else ""
        folds: list[str] = []
        if self.accept("folds"):
            folds = self.listed(lambda: self.string("a node"))
        driver = self.driver() if self.accept("driver") else None
        self.expect("weight")
        weight = self.matrix()
        grids: list[TileGrid] = []
        while self.accept("grid"):
            grids.append(self.grid())
        if not self.accept("}"):
            self.fail("'grid' or '}'")
        return LinearLayer(
            name, weight, operand, loc, tuple(grids), uses, tuple(folds), copy_of, driver
        )

    def operand(self) -> Operand:
        source = self.string("the host tensor")
        self.expect("axis")
        axis = self.integer("an axis", -(2**31))
        self.expect("binding")
        binding = self.string("the host input")
        dtype = self.string("a dtype")
        transposed = self.accept("transposed")
        slot, view = self.share("slot"), self.view()
        parts = ""
        if self.accept("parts"):
            parts = self.choice({word: word for word in (STACKED, INTERLEAVED)})
        turn = self.share("turn")
        return Operand(source, axis, binding, transposed, dtype, slot, view, parts, turn)

    def share(self, what: str) -> tuple[int, int]:
        if not self.accept(what):
            return WHOLE
        index = self.integer("an index")
        self.expect("of")
        return index, self.integer("a count")

    def view(self) -> View:
        more = self.integers() if self.accept("more") else ()
        at = tuple(self.listed(self.place_at)) if self.accept("at") else ()
        part = self.share("part")
        return View(more, at, part, self.window() if self.accept("window") else None)

    def place_at(self) -> tuple[int, int]:
        axis = self.integer("an axis", -(2**31))
        self.expect(":")
        return axis, self.integer("an index")

    def window(self) -> Window:
        self.expect("kernel")
        kernel = self.integers()
        self.expect("strides")
        strides = self.integers()
        self.expect("dilations")
        dilations = self.integers()
        self.expect("pads")
        pads = self.integers()
        same = self.string("'upper' or 'lower'") if self.accept("same") else ""
        return Window(kernel, strides, dilations, pads, same)

    def integers(self) -> tuple[int, ...]:
        return tuple(self.listed(lambda: self.integer("a whole number", -(2**31))))

    def matrix(self) -> Array:
        return self.array("f64", "c128")

    def grid(self) -> TileGrid:
        rows = self.integer("the rows of the grid")
        self.expect("x")
        columns = self.integer("the columns of the grid")
        return TileGrid(rows, columns, tuple(self.many(self.tile)))

    def tile(self) -> Tile:
        self.expect("tile")
        read = self.choice({"dense": self.dense, "factored": self.factored, "mesh": self.on_chip})
        self.expect("{", "outputs")
        outputs = self.array("i32")
        self.expect("inputs")
        tile = read(outputs, self.array("i32"))
        self.expect("}")
        return tile

    def dense(self, outputs: Array, inputs: Array) -> Tile:
        self.expect("weight")
        return DenseTile(outputs, inputs, self.matrix())

    def factored(self, outputs: Array, inputs: Array) -> Tile:
        self.expect("u")
        u = self.matrix()
        self.expect("s")
        s = self.array("f64")
        self.expect("vh")
        return FactoredTile(outputs, inputs, u, s, self.matrix())

    def on_chip(self, outputs: Array, inputs: Array) -> Tile:
        self.expect("gain")
        gain = self.real("a number")
        self.expect("readout")
        readout = self.array("f64")
        self.expect("v")
        v = self.mesh()
        self.expect("s")
        sigma = self.attenuators()
        self.expect("u")
        return MeshTile(outputs, inputs, self.mesh(), sigma, v, gain, readout)

    def mesh(self) -> Mesh:
        self.expect("ports")
        token = self.here
        ports = self.integer("a number of ports")
        drive = self.drive()
        self.expect("mzis")
        counted = self.here
        count = self.integer("a number of MZIs")
        if self.here.text == "@":
            arrays = self.reference({f: (t, count) for f, t in MZI_FIELDS.items()})
            arrays |= self.reference({f: (t, ports) for f, t in OUT_FIELDS.items()})
            return Mesh(ports=ports, drive=drive, **arrays)
        if ports > LIMIT:
            raise self.refuse(token, f"a mesh of {ports} ports must be beside the text")
        rows: list[tuple[int, int, float, float, int, int]] = []
        out_rad, out_state = np.zeros(ports), np.zeros(ports, np.uint8)

        def line() -> None:
            if self.accept("out"):
                at = self.here
                port = self.within(at, str(self.place("p", "a port")), "a port", 0, ports - 1)
                out_rad[port], out_state[port] = self.phase()
            else:
                rows.append(self.mzi())

        self.many(line)
        if len(rows) != count:
            raise self.refuse(counted, f"{len(rows)} MZIs follow, not {count}")
        arrays = {
            field: np.array([row[k] for row in rows], DTYPES[dtype])
            for k, (field, dtype) in enumerate(MZI_FIELDS.items())
        }
        return Mesh(ports=ports, out_rad=out_rad, out_state=out_state, drive=drive, **arrays)

    def mzi(self) -> tuple[int, int, float, float, int, int]:
        if self.here.text[:1] != "c":
            self.fail("an MZI such as 'c0 p0', 'out' or '}'")
        column, port = self.place("c", "a column"), self.place("p", "a port")
        self.expect("theta")
        theta, theta_state = self.phase()
        self.expect("phi")
        phi, phi_state = self.phase()
        return column, port, theta, phi, theta_state, phi_state

    def phase(self) -> tuple[float, int]:
        if self.accept("removed"):
            return 0.0, int(ShifterState.REMOVED)
        rad = self.real("a phase or 'removed'")
        for state in (ShifterState.PASSIVE, ShifterState.REMOVED, ShifterState.ACTIVE):
            if self.accept(state.name.lower()):
                return rad, int(state)
        return rad, int(ShifterState.ACTIVE)

    def drive(self) -> Drive:
        return self.choice({str(drive): drive for drive in Drive})

    def attenuators(self) -> Attenuators:
        self.expect("channels")
        counted = self.here
        count = self.integer("a number of channels")
        drive = self.drive()
        if self.here.text == "@":
            fields = {f: (t, count) for f, t in ATTENUATOR_FIELDS.items()}
            return Attenuators(drive=drive, **self.reference(fields))
        rows: list[tuple[float, int]] = []

        def line() -> None:
            at = self.here
            if self.place("p", "a channel") != len(rows):
                raise self.refuse(at, f"expected channel p{len(rows)}, found {at}")
            self.expect("theta")
            rows.append(self.phase())

        self.many(line)
        if len(rows) != count:
            raise self.refuse(counted, f"{len(rows)} channels follow, not {count}")
        theta = np.array([rad for rad, _ in rows])
        return Attenuators(theta, np.array([state for _, state in rows], np.uint8), drive)

    # ---- placement ------------------------------------------------------------------------

    def placement(self) -> Placement:
        technology = self.string("the technology")
        width = self.real("a width")
        self.expect("x")
        height = self.real("a height")
        return Placement(technology, width, height, tuple(self.many(self.placed)))

    def placed(self) -> BlockPlacement:
        layer = self.string("a layer's name")
        self.expect("grid")
        grid = self.integer("a grid")
        self.expect("tile")
        tile = self.integer("a tile")
        block = self.word("'u', 's' or 'v'")
        self.expect("y")
        y_um = self.real("a height")
        self.expect("pitch")
        pitch = self.real("a pitch")
        self.expect("columns")
        columns = self.array("f64")
        drives = self.array("f64") if self.accept("drives") else np.zeros(0)
        lengths = self.array("f64") if self.accept("lengths") else np.zeros(0)
        return BlockPlacement(layer, grid, tile, block, columns, y_um, pitch, drives, lengths)
