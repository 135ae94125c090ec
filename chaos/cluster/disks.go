package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// disks makes drives. With mounts each is a file system of its own, of limited size, whose block
// device can be slowed down, and which gives back to the machine's disk what is deleted on it; else it
// is a plain folder.
type disks struct {
	dir    string
	mounts bool
	made   []string
	groups []string
}

// drive makes the drive of a server and returns its folder.
func (d *disks) drive(name string, mebibytes int) (string, error) {
	folder := filepath.Join(d.dir, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	if !d.mounts {
		return folder, nil
	}
	image := folder + ".img"
	f, err := os.Create(image)
	if err != nil {
		return "", err
	}
	err = errors.Join(f.Truncate(int64(mebibytes)<<20), f.Close())
	if err == nil {
		err = run("mkfs.ext4", "-q", "-F", "-m", "0", image)
	}
	if err == nil {
		err = run("mount", "-o", "loop,discard", image, folder)
	}
	if err != nil {
		return "", err
	}
	d.made = append(d.made, folder)
	if err := os.Remove(filepath.Join(folder, "lost+found")); err != nil {
		return "", err
	}
	return folder, nil
}

// ballast is the file that fills a drive.
const ballast = ".ballast"

// fill leaves no room on a drive, and empty gives it back.
func (d *disks) fill(folder string) error {
	if !d.mounts {
		return errors.New("a drive that is a folder of the machine's own disk is not filled")
	}
	f, err := os.Create(filepath.Join(folder, ballast))
	if err != nil {
		return err
	}
	defer f.Close()
	for size := int64(64 << 20); size >= 4096; {
		end, err := f.Seek(0, 2)
		if err != nil {
			return err
		}
		err = syscall.Fallocate(int(f.Fd()), 0, end, size)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return err
		default:
			if _, err := f.Seek(end+size, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *disks) empty(folder string) error {
	err := os.Remove(filepath.Join(folder, ballast))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// leastRoom is the share of a drive that must be free at the end: MinIO takes nothing once it is
// about full.
const leastRoom = 0.1

// HasRoom fails if a MinIO's drive is about full without a fault: clients were refused then for a
// while, and the run has shown little.
func (c *Cluster) HasRoom() error {
	if !c.disks.mounts {
		return nil
	}
	for _, s := range c.MinIOs {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(s.Drive, &fs); err != nil {
			return err
		}
		if float64(fs.Bavail) < leastRoom*float64(fs.Blocks) {
			return fmt.Errorf("the drive of %s is full, by what clients wrote: give more with -drive", s.Name)
		}
	}
	return nil
}

// throttleGroup is where control groups of block devices are, as version 1 has them.
const throttleGroup = "/sys/fs/cgroup/blkio"

// slows tells whether drives can be slowed down.
func (d *disks) slows() bool {
	_, err := os.Stat(throttleGroup + "/blkio.throttle.write_bps_device")
	return d.mounts && err == nil
}

// slow has a process read and write so many bytes a second on its drive; 0 heals.
func (d *disks) slow(name, folder string, pid, rate int) error {
	device, err := blockDevice(folder)
	if err != nil {
		return err
	}
	group := filepath.Join(throttleGroup, fmt.Sprintf("chaos-%d-%s", os.Getpid(), name))
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	d.groups = append(d.groups, group)
	for _, file := range []string{"blkio.throttle.write_bps_device", "blkio.throttle.read_bps_device"} {
		if err := os.WriteFile(filepath.Join(group, file), fmt.Appendf(nil, "%s %d", device, rate), 0o600); err != nil {
			return err
		}
	}
	if rate == 0 || pid == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
}

// blockDevice is MAJOR:MINOR of what is mounted at folder.
func blockDevice(folder string) (string, error) {
	out, err := exec.Command("mountpoint", "-d", folder).Output()
	if err != nil {
		return "", fmt.Errorf("the device of %s: %w", folder, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (d *disks) close() error {
	var errs []error
	for _, group := range d.groups {
		if err := os.Remove(group); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, folder := range d.made {
		errs = append(errs, run("umount", "-l", folder), os.Remove(folder+".img"))
	}
	return errors.Join(errs...)
}
