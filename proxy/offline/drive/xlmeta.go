package drive

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/tinylib/msgp/msgp"
)

// errMeta says that a file xl.meta is not one that this reader knows.
var errMeta = errors.New("xl.meta does not parse")

// The layout of a file xl.meta, as it was seen on drives of MinIO from 2021 on:
//
//	"XL2 " || u16le(1) || u16le(3) || bin(versions) || uint32(checksum) || inline data
//
// versions is, in MessagePack, uint(header format) || uint(version format) || int(count),
// and for each version bin(header) || bin(body), the newest first. A header is an array that
// begins with id (bin 16), time (int64, nanoseconds), signature (bin 4), type and flags; a
// body is a map. Inline data is a byte 1 and a map from version ids to bytes.
const (
	magic = "XL2 \x01\x00"

	typeObject = 1
	typeDelete = 2

	// flagFree marks a version that is removed already, and only remembers data at a tier.
	flagFree = 1

	maxVersions = 1 << 20
	maxParts    = 10000
)

// version is one version of an object.
type version struct {
	id       [16]byte // zeros: "null"
	modified time.Time
	marker   bool
	err      error // what is not known of it

	dataDir    [16]byte
	dataShards int
	blockSize  int64
	size       int64
	partNums   []int
	partSizes  []int64
	internal   map[string]string // by lower-case names
	meta       map[string]string
	inline     []byte
	isInline   bool
}

// name is the version's id as S3 has it.
func (v *version) name() string {
	if v.id == ([16]byte{}) {
		return "null"
	}
	return uuid(v.id)
}

func uuid(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseMeta returns the versions in a file xl.meta, the newest first. errMeta.
func parseMeta(file []byte) ([]*version, error) {
	if len(file) < 8 || string(file[:6]) != magic {
		return nil, fmt.Errorf("it does not begin as one: %w", errMeta)
	}
	if minor := binary.LittleEndian.Uint16(file[6:]); minor != 3 {
		return nil, fmt.Errorf("it is of version 1.%d, and this reader knows 1.3: %w", minor, errMeta)
	}
	all, rest, err := msgp.ReadBytesZC(file[8:])
	if err != nil {
		return nil, bad("versions", err)
	}
	sum, rest, err := msgp.ReadUint32Bytes(rest)
	if err != nil {
		return nil, bad("checksum", err)
	}
	if uint32(xxhash.Sum64(all)) != sum { //nolint:gosec // the lower half is meant
		return nil, fmt.Errorf("its checksum does not fit: %w", errMeta)
	}
	versions, err := parseVersions(all)
	if err != nil {
		return nil, err
	}
	return versions, takeInline(versions, rest)
}

func bad(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: %w", what, errMeta)
	}
	return fmt.Errorf("%s: %w (%w)", what, errMeta, err)
}

func parseVersions(b []byte) ([]*version, error) {
	_, b, err := msgp.ReadUintBytes(b)
	if err == nil {
		_, b, err = msgp.ReadUintBytes(b)
	}
	count := 0
	if err == nil {
		count, b, err = msgp.ReadIntBytes(b)
	}
	if err != nil || count < 0 || count > maxVersions {
		return nil, bad("number of versions", err)
	}
	var all []*version
	for range count {
		var head, body []byte
		if head, b, err = msgp.ReadBytesZC(b); err == nil {
			body, b, err = msgp.ReadBytesZC(b)
		}
		if err != nil {
			return nil, bad("version", err)
		}
		v, free, err := parseHead(head)
		if err != nil {
			return nil, bad("header of a version", err)
		}
		if free {
			continue
		}
		if !v.marker && v.err == nil {
			if err := v.parseBody(body); err != nil {
				return nil, bad("body of a version", err)
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func parseHead(b []byte) (v *version, free bool, err error) {
	v = new(version)
	fields, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || fields < 5 {
		return nil, false, errors.Join(errMeta, err)
	}
	var modified int64
	var kind, flags uint8
	if b, err = readID(b, &v.id); err == nil {
		modified, b, err = msgp.ReadInt64Bytes(b)
	}
	if err == nil {
		_, b, err = msgp.ReadBytesZC(b) // the signature
	}
	if err == nil {
		kind, b, err = msgp.ReadUint8Bytes(b)
	}
	if err == nil {
		flags, _, err = msgp.ReadUint8Bytes(b)
	}
	if err != nil {
		return nil, false, err
	}
	v.modified, v.marker = time.Unix(0, modified).UTC(), kind == typeDelete
	if kind != typeObject && kind != typeDelete {
		v.err = fmt.Errorf("a version of type %d, as MinIO wrote it before 2021: %w", kind, errMeta)
	}
	return v, flags&flagFree != 0, nil
}

func readID(b []byte, into *[16]byte) ([]byte, error) {
	id, rest, err := msgp.ReadBytesZC(b)
	if err == nil && len(id) != len(into) {
		err = errMeta
	}
	copy(into[:], id)
	return rest, err
}

// parseBody reads the map V2Obj in the map of a version.
func (v *version) parseBody(b []byte) error {
	found := false
	_, err := eachEntry(b, func(name string, b []byte) ([]byte, error) {
		if name != "V2Obj" {
			return msgp.Skip(b)
		}
		found = true
		return eachEntry(b, v.set)
	})
	if err == nil && !found {
		err = errMeta
	}
	if err == nil && len(v.partSizes) != len(v.partNums) {
		err = fmt.Errorf("%d parts of %d sizes: %w", len(v.partNums), len(v.partSizes), errMeta)
	}
	return err
}

// eachEntry calls visit for each entry of a map; visit returns what follows the value.
func eachEntry(b []byte, visit func(name string, b []byte) ([]byte, error)) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	for range n {
		var name []byte
		if err == nil {
			name, b, err = msgp.ReadStringZC(b)
		}
		if err == nil {
			b, err = visit(string(name), b)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, err
}

// set takes an entry of V2Obj.
func (v *version) set(name string, b []byte) (rest []byte, err error) {
	switch name {
	case "DDir":
		return readID(b, &v.dataDir)
	case "EcM":
		v.dataShards, rest, err = msgp.ReadIntBytes(b)
	case "EcBSize":
		v.blockSize, rest, err = msgp.ReadInt64Bytes(b)
	case "Size":
		v.size, rest, err = msgp.ReadInt64Bytes(b)
	case "PartNums":
		rest, err = eachItem(b, func(b []byte) (rest []byte, err error) {
			n, rest, err := msgp.ReadIntBytes(b)
			v.partNums = append(v.partNums, n)
			return rest, err
		})
	case "PartSizes":
		rest, err = eachItem(b, func(b []byte) (rest []byte, err error) {
			n, rest, err := msgp.ReadInt64Bytes(b)
			v.partSizes = append(v.partSizes, n)
			return rest, err
		})
	case "MetaSys":
		v.internal = make(map[string]string)
		return eachOrNil(b, func(name string, b []byte) ([]byte, error) {
			value, rest, err := msgp.ReadBytesZC(b)
			v.internal[lower(name)] = string(value)
			return rest, err
		})
	case "MetaUsr":
		v.meta = make(map[string]string)
		return eachOrNil(b, func(name string, b []byte) ([]byte, error) {
			value, rest, err := msgp.ReadStringZC(b)
			v.meta[name] = string(value)
			return rest, err
		})
	default:
		return msgp.Skip(b)
	}
	return rest, err
}

func lower(name string) string { return string(bytes.ToLower([]byte(name))) }

func eachOrNil(b []byte, visit func(string, []byte) ([]byte, error)) ([]byte, error) {
	if msgp.IsNil(b) {
		return msgp.ReadNilBytes(b)
	}
	return eachEntry(b, visit)
}

func eachItem(b []byte, visit func([]byte) ([]byte, error)) ([]byte, error) {
	if msgp.IsNil(b) {
		return msgp.ReadNilBytes(b)
	}
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err == nil && n > maxParts {
		return nil, errMeta
	}
	for range n {
		if err == nil {
			b, err = visit(b)
		}
	}
	return b, err
}

// takeInline gives versions the data that the file has of them.
func takeInline(versions []*version, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if b[0] != 1 {
		return fmt.Errorf("inline data of version %d: %w", b[0], errMeta)
	}
	byName := make(map[string][]byte)
	if _, err := eachEntry(b[1:], func(name string, b []byte) ([]byte, error) {
		data, rest, err := msgp.ReadBytesZC(b)
		byName[name] = data
		return rest, err
	}); err != nil {
		return bad("inline data", err)
	}
	for _, v := range versions {
		v.inline, v.isInline = byName[v.name()], v.internal["x-minio-internal-inline-data"] == "true"
	}
	return nil
}
