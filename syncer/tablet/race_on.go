//go:build race

package tablet

// raceDetector is true where the program was built with the race detector.
const raceDetector = true
