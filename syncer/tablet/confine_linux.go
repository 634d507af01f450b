//go:build linux && (amd64 || arm64)

package tablet

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine takes from this process what reading two open files does not need: time, memory, files, the network, other
// programs. There is no way back.
func confine(seconds uint64) error {
	limits := []struct {
		of   string
		id   int
		most uint64
	}{
		{"core dumps", unix.RLIMIT_CORE, 0},
		{"bytes in a file", unix.RLIMIT_FSIZE, 0},
		{"open files", unix.RLIMIT_NOFILE, childFiles},
		{"seconds", unix.RLIMIT_CPU, seconds},
	}
	if !raceDetector { // it takes terabytes of address space for itself
		limits = append(limits, []struct {
			of   string
			id   int
			most uint64
		}{{"bytes of data", unix.RLIMIT_DATA, childData}, {"bytes of addresses", unix.RLIMIT_AS, childSpace}}...)
	}
	for _, l := range limits {
		if err := syscall.Setrlimit(l.id, &syscall.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return fmt.Errorf("limit %s: %w", l.of, err)
		}
	}
	return forbid()
}

// forbidden are the system calls that fail from now on: those that open or change files, reach other processes and
// programs, or the network.
func forbidden() []uint32 {
	all := []uint32{
		unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_CONNECT, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
		unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
		unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT,
		unix.SYS_SYMLINKAT, unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
		unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_CHROOT, unix.SYS_MOUNT, unix.SYS_UMOUNT2,
		unix.SYS_PIVOT_ROOT, unix.SYS_UTIMENSAT, unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_MEMFD_CREATE,
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV,
		unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_KILL, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN,
		unix.SYS_IO_URING_SETUP, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_USERFAULTFD, unix.SYS_INIT_MODULE,
		unix.SYS_FINIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_MSGGET, unix.SYS_SEMGET,
	}
	return append(all, oldCalls()...)
}

// forbid installs a filter for all threads of the process: of a call of another architecture, of a forbidden one, and of a
// clone that is no thread it makes the error EPERM.
func forbid() error {
	const (
		number, architecture, firstArgument = 0, 4, 16 // in struct seccomp_data; the low half of the argument stands first
		load, equal, anyBit, give           = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		refuse, allow                       = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_ALLOW
		absent                              = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
	op := func(code uint16, yes, no uint8, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k}
	}
	program := []unix.SockFilter{
		op(load, 0, 0, architecture), op(equal, 1, 0, auditArch), op(give, 0, 0, refuse),
		op(load, 0, 0, number), op(anyBit, 0, 1, 1<<30), op(give, 0, 0, refuse), // of the 32-bit kind
	}
	program = append(program, op(equal, 0, 4, unix.SYS_CLONE), // a clone: only if it shares its thread group
		op(load, 0, 0, firstArgument), op(anyBit, 0, 1, unix.CLONE_THREAD), op(give, 0, 0, allow), op(give, 0, 0, refuse))
	// Of clone3 a filter cannot see the arguments. Who makes a thread by it takes clone where there is none.
	program = append(program, op(equal, 0, 1, unix.SYS_CLONE3), op(give, 0, 0, absent))
	for _, call := range forbidden() {
		program = append(program, op(equal, 0, 1, call), op(give, 0, 0, refuse))
	}
	program = append(program, op(give, 0, 0, allow))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("take no new rights: %w", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 && errno != unix.ENOSYS && errno != unix.EINVAL { // a kernel without filters has the limits alone
		return fmt.Errorf("filter system calls: %w", errno)
	}
	return nil
}
