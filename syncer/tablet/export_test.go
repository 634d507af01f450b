package tablet

import "io"

// What tests outside the package look into.
var (
	Confine    = confine
	ReadFrames = readFrames
	DamagedWAL = func(r io.Reader) (int, error) {
		_, damaged, err := scanWAL(r, func(walFrame) {})
		return damaged, err
	}
	FrameStream = func(frames ...[]any) []byte {
		var b limitedBuffer
		b.left = 1 << 20
		w := newFrameWriter(&b, 1<<20)
		for _, f := range frames {
			_ = w.frame(f[0].(byte), f[1:]...)
		}
		_ = w.end()
		return b.b.Bytes()
	}
)

// Row is a row as a frame has it.
type Row = row

// RaceDetector is true where it is on.
const RaceDetector = raceDetector
