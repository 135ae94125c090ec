package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// packageVersion writes a version as packages need it: what comes before a release
// sorts before it, and a version between releases after the one that it follows.
func packageVersion(version string) string {
	version = strings.TrimPrefix(version, "v")
	if base, pre, ok := strings.Cut(version, "-"); ok {
		version = base + "~" + strings.ReplaceAll(pre, "-", ".")
	}
	return version
}

// writePackages writes a .deb and an .rpm. deploy/packages/nfpm.yml says what is in them.
func writePackages(ctx context.Context, src, out, nfpm string, b *binary) error {
	text, err := os.ReadFile(filepath.Join(src, "deploy/packages/nfpm.yml"))
	if err != nil {
		return err
	}
	t, err := template.New("nfpm.yml").Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	folder := filepath.Dir(b.path)
	var config bytes.Buffer
	err = t.Execute(&config, map[string]string{
		"Arch": b.arch, "Version": packageVersion(b.version), "Time": b.time.UTC().Format(time.RFC3339), "Src": src, "Made": folder,
	})
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "nfpm.yml")
	if err := os.WriteFile(file, config.Bytes(), 0o644); err != nil {
		return err
	}
	for _, kind := range []string{"deb", "rpm"} {
		cmd := exec.CommandContext(ctx, nfpm, "package", "--config", file, "--packager", kind, "--target", filepath.Join(out, b.name()+"."+kind))
		cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.time.Unix()))
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nfpm %s: %w: %s", kind, err, said)
		}
	}
	return nil
}
