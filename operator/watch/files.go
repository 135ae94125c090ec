package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Stamp returns a text that changes when one of the files does, or when a link on
// the way to it leads elsewhere. A file that cannot be found has a stamp too.
func Stamp(files ...string) string {
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintf(&b, "%s missing\n", file)
			continue
		}
		target, _ := filepath.EvalSymlinks(file)
		fmt.Fprintf(&b, "%s %s %d %d\n", file, target, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

// FilesAt returns path itself, or if it is a folder the regular files in it, in the
// order of their names. Links count as what they lead to; one that leads nowhere,
// and a folder in the folder, are left out.
func FilesAt(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			files = append(files, file)
		}
	}
	return files, nil
}
