package tablet

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// oldCalls are calls that newer architectures no longer have.
func oldCalls() []uint32 { return nil }
