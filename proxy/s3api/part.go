package s3api

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// partTarget reads which part of which upload a request is about, and with which key,
// which is customer's and to be zeroed.
func (s *API) partTarget(r *intake.Request) (to vault.PartTarget, customer *sse.Request, err error) {
	number, err := strconv.Atoi(r.Query.Get("partNumber"))
	if err != nil || number < 1 || number > sse.MaxParts {
		return to, nil, intake.NewError(400, invalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
	}
	to = vault.PartTarget{Upload: uploadOf(r), Number: number}
	customer = new(sse.Request)
	if to.Fault = s.checkCustomerTransport(r); to.Fault != nil {
		return to, customer, nil
	}
	said, hasKey, err := sse.ParseCustomer(r.Header)
	if err != nil {
		to.Fault = readHeaderError(err)
		return to, customer, nil
	}
	*customer = said
	said.CustomerKey.Zero()
	if hasKey {
		to.Customer = &customer.CustomerKey
	}
	return to, customer, nil
}

// uploadPart serves UploadPart.
func (s *API) uploadPart(w http.ResponseWriter, r *intake.Request) error {
	to, customer, err := s.partTarget(r)
	if err != nil {
		return err
	}
	defer customer.CustomerKey.Zero()
	sent, err := s.vault.Part(r.Context(), s.reader(r), &vault.Part{PartTarget: to, Body: func(need plaintext.Digests) (plaintext.Body, error) {
		return r.Auth.Body(r.Request, sigv4.BodyOptions{ComputeMD5: need.MD5, Compute: need.Compute, Default: need.Default})
	}})
	if err != nil {
		return err
	}
	setPartHeaders(w.Header(), sent, customer.CustomerKeyMD5)
	w.Header().Set("ETag", sent.ETag)
	w.WriteHeader(http.StatusOK)
	return nil
}

// setPartHeaders say how a part was stored.
func setPartHeaders(h http.Header, sent *vault.SentPart, customerKeyMD5 string) {
	if sent.Record != nil {
		setEncryptionHeaders(h, sent.Record.Encryption(), customerKeyMD5)
	}
	if sum := sent.Checksum; sum != nil {
		h.Set(checksumOf(sum.Type).header, base64Std(sum.Value))
	}
}

// uploadPartCopy serves UploadPartCopy.
func (s *API) uploadPartCopy(w http.ResponseWriter, r *intake.Request) error {
	source, err := s.copySourceOf(r)
	if source.Customer != nil {
		defer source.Customer.Zero()
	}
	if err != nil {
		return err
	}
	source.Checksum = true
	to, customer, err := s.partTarget(r)
	if err != nil {
		return err
	}
	defer customer.CustomerKey.Zero()
	piece := &vault.PartCopy{PartTarget: to, Source: source, Long: func(do func() error) error { return intake.Patiently(w, do) }}
	piece.Range, piece.RangeFault = parseSourceRange(r.Header.Get("X-Amz-Copy-Source-Range"))
	var copied *vault.CopiedPart
	err = readingSource(r, &source, func() (version string, err error) {
		if copied, err = s.vault.PartCopy(r.Context(), s.reader(r), piece); err != nil {
			return "", err
		}
		return copied.SourceVersion, nil
	})
	if err != nil {
		return err
	}
	setPartHeaders(w.Header(), &copied.SentPart, customer.CustomerKeyMD5)
	if copied.SourceVersion != "" {
		w.Header().Set("X-Amz-Copy-Source-Version-Id", copied.SourceVersion)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CopyPartResult xmlns="` + s3Namespace + `">`)
	element(&b, "LastModified", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	element(&b, "ETag", copied.ETag)
	if sum := copied.Checksum; sum != nil {
		element(&b, checksumOf(sum.Type).element, base64Std(sum.Value))
	}
	b.WriteString("</CopyPartResult>")
	writeXML(w, http.StatusOK, b.Bytes())
	return nil
}

// parseSourceRange reads x-amz-copy-source-range, nil for the whole source.
func parseSourceRange(header string) (*plaintext.Range, error) {
	if header == "" {
		return nil, nil
	}
	rng, err := parseRange(header)
	if errors.Is(err, errInvalidRange) || rng == nil || rng.Suffix >= 0 || rng.Last < 0 {
		return nil, intake.NewError(400, invalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	return &plaintext.Range{First: rng.First, Last: rng.Last, Suffix: -1}, nil
}
