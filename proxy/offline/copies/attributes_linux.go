package copies

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// userAttributes begins the names of extended attributes that users may have.
const userAttributes = "user."

// readAttributes returns a file's extended attributes of users, without that prefix.
func readAttributes(f *os.File) (map[string]string, error) {
	fd := int(f.Fd())
	names, err := readSized(func(into []byte) (int, error) { return unix.Flistxattr(fd, into) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for name := range strings.SplitSeq(string(names), "\x00") {
		short, ok := strings.CutPrefix(name, userAttributes)
		if !ok {
			continue
		}
		value, err := readSized(func(into []byte) (int, error) { return unix.Fgetxattr(fd, name, into) })
		if err != nil {
			return nil, err
		}
		all[short] = string(value)
	}
	return all, nil
}

// readSized asks for a size, and then for so many bytes.
func readSized(read func([]byte) (int, error)) ([]byte, error) {
	size, err := read(nil)
	if err != nil || size == 0 {
		return nil, err
	}
	b := make([]byte, size)
	n, err := read(b)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}
