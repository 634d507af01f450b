package tablet

import (
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// fileMark tells the file of a store from every copy of it: by its number in its file system, and by when it was made, because
// the number of a file that is gone is given again. Renaming leaves it as it is. Nil where the system does not say.
func fileMark(path string) []byte {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_INO == 0 {
		return nil
	}
	raw := binary.BigEndian.AppendUint32([]byte("hearth/store-file/v1\x00"), st.Dev_major)
	raw = binary.BigEndian.AppendUint32(raw, st.Dev_minor)
	raw = binary.BigEndian.AppendUint64(raw, st.Ino)
	if st.Mask&unix.STATX_BTIME != 0 {
		raw = binary.BigEndian.AppendUint64(raw, uint64(st.Btime.Sec))
		raw = binary.BigEndian.AppendUint32(raw, st.Btime.Nsec)
	}
	sum := sha256.Sum256(raw)
	return sum[:16]
}
