package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// member is a file of an archive.
type member struct {
	name string
	from string
	mode int64
}

// members are what an archive of b holds. Files of the release's own lie beside the program.
func members(src string, b *binary) []member {
	made := filepath.Dir(b.path)
	list := []member{
		{b.program(), b.path, 0o755},
		{"LICENSE", filepath.Join(src, "LICENSE"), 0o644},
		{"NOTICE", filepath.Join(made, "NOTICE"), 0o644},
		{"THIRD_PARTY_LICENSES", filepath.Join(made, "THIRD_PARTY_LICENSES"), 0o644},
		{"CHANGES.md", filepath.Join(made, "CHANGES.md"), 0o644},
		{"README.md", filepath.Join(src, "README.md"), 0o644},
		{"bucketseal.example.yml", filepath.Join(src, "bucketseal.example.yml"), 0o644},
	}
	if b.target.os == "linux" {
		for _, unit := range units {
			list = append(list, member{"systemd/" + unit, filepath.Join(src, "deploy/systemd", unit), 0o644})
		}
	}
	return list
}

// units are systemd's.
var units = []string{"bucketseal.service", "bucketseal.socket", "bucketseal-console.socket", "bucketseal-kms.service", "bucketseal-kms.socket"}

// writeArchive writes a .tar.gz, or a .zip for Windows. Owners, times and order are the same
// whoever writes it, and when.
func writeArchive(src, out string, b *binary) error {
	var data bytes.Buffer
	var err error
	name := b.name() + ".tar.gz"
	if b.target.os == "windows" {
		name = b.name() + ".zip"
		err = zipTo(&data, b.name(), members(src, b), b.time)
	} else {
		err = tarTo(&data, b.name(), members(src, b), b.time)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, name), data.Bytes(), 0o644)
}

func tarTo(w *bytes.Buffer, folder string, list []member, at time.Time) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, m := range list {
		data, err := os.ReadFile(m.from)
		if err != nil {
			return err
		}
		head := &tar.Header{Name: folder + "/" + m.name, Mode: m.mode, Size: int64(len(data)), ModTime: at.UTC(), Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if _, err := archive.Write(data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func zipTo(w *bytes.Buffer, folder string, list []member, at time.Time) error {
	archive := zip.NewWriter(w)
	for _, m := range list {
		data, err := os.ReadFile(m.from)
		if err != nil {
			return err
		}
		head := &zip.FileHeader{Name: folder + "/" + m.name, Method: zip.Deflate, Modified: at.UTC()}
		head.SetMode(os.FileMode(m.mode))
		file, err := archive.CreateHeader(head)
		if err != nil {
			return err
		}
		if _, err := file.Write(data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// writeChecksums writes SHA256SUMS, which `sha256sum -c` reads, for all files of out.
func writeChecksums(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	var lines []string
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(out, e.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(data), e.Name()))
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644)
}
