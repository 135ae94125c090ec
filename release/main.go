// Command release builds what a release of the checked out commit consists of: static binaries in archives, .deb
// and .rpm packages, an SPDX bill of materials and the licences of each binary, the notes
// of the version, and checksums of all. The same commit gives the same bytes, wherever
// it is checked out. `make release` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `usage: release [COMMAND] [FLAG...]

  build      build everything into a folder (what happens without a command)
  licences   check that every licence of what is linked is permitted, and print them

Run it in the checkout that is released. Flags of build:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, args := "build", os.Args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "build":
		err = buildCommand(ctx, args)
	case "licences":
		err = licencesCommand(ctx, args)
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// flags are those of build.
type flags struct {
	src     string
	out     string
	nfpm    string
	targets string
}

func buildCommand(ctx context.Context, args []string) error {
	var f flags
	set := flag.NewFlagSet("release build", flag.ContinueOnError)
	set.Usage = func() { fmt.Fprint(set.Output(), usage); set.PrintDefaults() }
	set.StringVar(&f.src, "src", ".", "the checkout")
	set.StringVar(&f.out, "out", "dist", "the folder of what is built; what is in it is removed")
	set.StringVar(&f.nfpm, "nfpm", "", "the program nfpm, which makes packages; without it none are made")
	set.StringVar(&f.targets, "targets", strings.Join(allTargets, ","), "systems to build for, OS/ARCH, separated by commas")
	if err := set.Parse(args); err != nil {
		return err
	}
	return release(ctx, f)
}

// release builds everything.
func release(ctx context.Context, f flags) error {
	src, err := filepath.Abs(f.src)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(f.out)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "bucketseal-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if src, err = checkOut(ctx, src, filepath.Join(work, "src")); err != nil {
		return err
	}

	var notes string
	for name := range strings.SplitSeq(f.targets, ",") {
		t, err := parseTarget(name)
		if err != nil {
			return err
		}
		b, err := compile(ctx, src, filepath.Join(work, t.os+"_"+t.arch), t)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if notes, err = notesOf(src, b.version); err != nil {
			return err
		}
		fmt.Println(b.name(), b.sha256)
		if err := deliver(ctx, src, out, f.nfpm, notes, b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "RELEASE_NOTES.md"), []byte(notes), 0o644); err != nil {
		return err
	}
	return writeChecksums(out)
}

// deliver writes what people take of one binary: archive, packages, bill of materials.
func deliver(ctx context.Context, src, out, nfpm, notes string, b *binary) error {
	modules, err := linked(ctx, src, b)
	if err != nil {
		return err
	}
	texts, err := licenceTexts(modules)
	if err != nil {
		return err
	}
	folder := filepath.Dir(b.path)
	for name, text := range map[string]string{"THIRD_PARTY_LICENSES": texts, "NOTICE": noticeText(modules), "CHANGES.md": notes} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := writeSPDX(filepath.Join(out, b.name()+".spdx.json"), b, modules); err != nil {
		return err
	}
	if err := writeArchive(src, out, b); err != nil {
		return err
	}
	if nfpm == "" || b.target.os != "linux" {
		return nil
	}
	return writePackages(ctx, src, out, nfpm, b)
}
