package integration

import (
	"fmt"
	"net/http"
	"strings"
)

// questions are all operations, each aimed at what exists and at what does not.
func (o *oracle) questions() []question {
	all := append(o.writeQuestions(), o.uploadQuestions()...)
	all = append(all, o.readQuestions()...)
	return append(all, o.bucketQuestions()...)
}

func (s state) object(method, query string, header map[string]string, body []byte) request {
	return request{method: method, bucket: s.bucket, key: s.key, query: query, header: header, body: body}
}

func (o *oracle) writeQuestions() []question {
	var all []question
	conditions := map[string]func(s state) map[string]string{
		"no condition":          func(state) map[string]string { return nil },
		"If-None-Match: *":      func(state) map[string]string { return map[string]string{"If-None-Match": "*"} },
		"If-Match: *":           func(state) map[string]string { return map[string]string{"If-Match": "*"} },
		"If-Match with ETag":    func(s state) map[string]string { return map[string]string{"If-Match": s.etag} },
		"If-None-Match with it": func(s state) map[string]string { return map[string]string{"If-None-Match": s.etag} },
	}
	for name, header := range conditions {
		for _, size := range []int{0, 1000, 500_000, 3 << 20} {
			for _, expect := range []bool{false, true} {
				body := testData(size, 93)
				all = append(all, question{fmt.Sprintf("PUT of %d, %s, expect %v", size, name, expect), o.objects, func(s state) request {
					h := with(header(s))
					if expect && size > 0 {
						h["Expect"] = "100-continue"
					}
					return s.object(http.MethodPut, "", h, body)
				}})
			}
		}
		all = append(all,
			question{"Create, " + name, o.objects, func(s state) request { return s.object(http.MethodPost, "uploads=", header(s), nil) }},
			question{"copy onto, " + name, o.objects, func(s state) request {
				return s.object(http.MethodPut, "", with(header(s), "X-Amz-Copy-Source", "/"+o.private+"/a-source"), nil)
			}},
			question{"DELETE, " + name, o.objects, func(s state) request { return s.object(http.MethodDelete, "", header(s), nil) }},
			question{"GET, " + name, o.objects, func(s state) request { return s.object(http.MethodGet, "", header(s), nil) }},
			question{"HEAD, " + name, o.objects, func(s state) request { return s.object(http.MethodHead, "", header(s), nil) }},
			question{"copy from, " + name, o.objects, func(s state) request {
				h := map[string]string{"X-Amz-Copy-Source": "/" + s.bucket + "/" + s.key}
				for name, value := range header(s) {
					h["X-Amz-Copy-Source-"+name] = value
				}
				return request{method: http.MethodPut, bucket: o.private, key: "copied", header: h}
			}})
	}
	return all
}

func (o *oracle) uploadQuestions() []question {
	list := func(s state) []byte {
		return []byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + s.part + "</ETag></Part></CompleteMultipartUpload>")
	}
	part := func(body []byte, header map[string]string) func(s state) request {
		return func(s state) request {
			return s.object(http.MethodPut, query("partNumber", "1", "uploadId", s.upload), header, body)
		}
	}
	complete := func(header map[string]string) func(s state) request {
		return func(s state) request { return s.object(http.MethodPost, query("uploadId", s.upload), header, list(s)) }
	}
	small, middle, large := testData(1000, 94), testData(500_000, 94), testData(3<<20, 94)
	expect := map[string]string{"Expect": "100-continue"}
	return []question{
		{"UploadPart", o.uploads, part(small, nil)},
		{"UploadPart with a customer key", o.uploads, part(small, customerKey(7))},
		{"UploadPart, expect", o.uploads, part(small, expect)},
		{"UploadPart of 500,000, expect", o.uploads, part(middle, expect)},
		{"UploadPart of 3 MiB, expect", o.uploads, part(large, expect)},
		{"UploadPart of another checksum", o.uploads, part(small, map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA=="})},
		{"UploadPartCopy", o.uploads, part(nil, map[string]string{"X-Amz-Copy-Source": "/" + o.private + "/an-object"})},
		{"UploadPartCopy of nothing", o.uploads, part(nil, map[string]string{"X-Amz-Copy-Source": "/" + o.private + "/never-was"})},
		{"Complete", o.uploads, complete(nil)},
		{"Complete, If-None-Match: *", o.uploads, complete(map[string]string{"If-None-Match": "*"})},
		{"Complete, If-Match", o.uploads, complete(map[string]string{"If-Match": md5ETag(nil)})},
		{"Complete, expect", o.uploads, complete(expect)},
		{"Abort", o.uploads, func(s state) request { return s.object(http.MethodDelete, query("uploadId", s.upload), nil, nil) }},
		{"ListParts", o.uploads, func(s state) request { return s.object(http.MethodGet, query("uploadId", s.upload), nil, nil) }},
	}
}

func (o *oracle) readQuestions() []question {
	var all []question
	for _, sub := range []string{"tagging", "retention", "legal-hold", "attributes", "acl"} {
		all = append(all, question{"GET " + sub, o.objects, func(s state) request {
			return s.object(http.MethodGet, sub+"=", map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize"}, nil)
		}})
	}
	tags := []byte("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
	keys := func(s state) []byte { return []byte("<Delete><Object><Key>" + s.key + "</Key></Object></Delete>") }
	return append(all,
		question{"PUT tagging", o.objects, func(s state) request { return s.object(http.MethodPut, "tagging=", nil, tags) }},
		question{"DeleteObjects", o.objects, func(s state) request {
			return request{method: http.MethodPost, bucket: s.bucket, query: "delete=", body: keys(s), header: map[string]string{"Content-Md5": contentMD5(keys(s))}}
		}},
		question{"GET a range", o.objects, func(s state) request {
			return s.object(http.MethodGet, "", map[string]string{"Range": "bytes=1-2"}, nil)
		}},
		question{"PUT with a wrong digest", o.objects, func(s state) request {
			return s.object(http.MethodPut, "", map[string]string{"Content-Md5": contentMD5(nil), "If-Match": s.etag}, []byte("data"))
		}},
		question{"PUT with a list of ETags", o.objects, func(s state) request {
			return s.object(http.MethodPut, "", map[string]string{"If-None-Match": "\"a\", " + s.etag + ", \"b\""}, []byte("data"))
		}},
		question{"DELETE of a version", o.objects, func(s state) request {
			return s.object(http.MethodDelete, "versionId=null", map[string]string{"If-Match": s.etag}, nil)
		}},
		question{"GET a part", o.objects, func(s state) request { return s.object(http.MethodGet, "partNumber=1", nil, nil) }},
		question{"GET with a customer key", o.objects, func(s state) request { return s.object(http.MethodGet, "", customerKey(7), nil) }},
		question{"form", o.objects, func(s state) request { return formOf(s) }},
	)
}

// formOf is a browser's form without a policy.
func formOf(s state) request {
	body := "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n" + s.key +
		"\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\ndata\r\n--b--\r\n"
	return request{method: http.MethodPost, bucket: s.bucket, body: []byte(body), header: map[string]string{"Content-Type": "multipart/form-data; boundary=b"}}
}

func (o *oracle) bucketQuestions() []question {
	rule := []byte("<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>")
	bucket := func(method, query string, body []byte) func(s state) request {
		return func(s state) request { return request{method: method, bucket: s.bucket, query: query, body: body} }
	}
	all := []question{
		{"GET encryption", o.buckets, bucket(http.MethodGet, "encryption=", nil)},
		{"PUT encryption", o.buckets, bucket(http.MethodPut, "encryption=", rule)},
		{"DELETE encryption", o.buckets, bucket(http.MethodDelete, "encryption=", nil)},
		{"LIST", append(o.buckets, o.objects...), bucket(http.MethodGet, "list-type=2", nil)},
		{"LIST versions", append(o.buckets, o.objects...), bucket(http.MethodGet, "versions=", nil)},
		{"LIST uploads", append(o.buckets, o.objects...), bucket(http.MethodGet, "uploads=", nil)},
		{"HEAD bucket", o.buckets, bucket(http.MethodHead, "", nil)},
		{"form", o.buckets, formOf},
	}
	kms := func(s state) map[string]string {
		if s.kmsKey == "" {
			return map[string]string{}
		}
		return map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": s.kmsKey}
	}
	for what, states := range map[string][]state{"a rule": o.buckets, "a key": o.keys} {
		for _, size := range []int{0, 1000, 500_000, 3 << 20} {
			body := testData(size, 95)
			all = append(all,
				question{fmt.Sprintf("PUT of %d under %s", size, what), states, func(s state) request { return s.object(http.MethodPut, "", kms(s), body) }},
				question{fmt.Sprintf("PUT of %d under %s, expect", size, what), states, func(s state) request {
					return s.object(http.MethodPut, "", with(kms(s), "Expect", "100-continue"), body)
				}},
				question{fmt.Sprintf("PUT of %d under %s, If-None-Match", size, what), states, func(s state) request {
					return s.object(http.MethodPut, "", with(kms(s), "If-None-Match", "*"), body)
				}})
		}
		all = append(all,
			question{"PUT with a wrong digest under " + what, states, func(s state) request {
				return s.object(http.MethodPut, "", with(kms(s), "Content-Md5", contentMD5(nil)), []byte("data"))
			}},
			question{"Create under " + what, states, func(s state) request { return s.object(http.MethodPost, "uploads=", kms(s), nil) }},
			question{"copy under " + what, states, func(s state) request {
				return s.object(http.MethodPut, "", with(kms(s), "X-Amz-Copy-Source", "/"+o.private+"/an-object"), nil)
			}})
	}
	return append(all, question{"PUT rule with a key", o.keys, func(s state) request {
		body := strings.Replace(string(rule), "<SSEAlgorithm>AES256</SSEAlgorithm>", "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>"+s.kmsKey+"</KMSMasterKeyID>", 1)
		return request{method: http.MethodPut, bucket: s.bucket, query: "encryption=", body: []byte(body)}
	}})
}
