// Tardump says what Go's archive/tar makes of archives, so that tests can compare.
//
// Standard input is any number of archives, each after its length in 8 bytes, little endian.
// For each, standard output has one line of JSON for every entry, and then one line that is
// "eof POSITION" or "error MESSAGE". Strings are base64, as they may be any bytes.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// tracker counts what the tar reader has read, and hides that the source could seek.
type tracker struct {
	source   io.Reader
	position int64
}

func (t *tracker) Read(buffer []byte) (int, error) {
	count, err := t.source.Read(buffer)
	t.position += int64(count)
	return count, err
}

type entry struct {
	Position int64       `json:"position"`
	Type     byte        `json:"type"`
	Name     []byte      `json:"name"`
	Linkname []byte      `json:"linkname"`
	Size     int64       `json:"size"`
	Mode     int64       `json:"mode"`
	UID      int64       `json:"uid"`
	GID      int64       `json:"gid"`
	Uname    []byte      `json:"uname"`
	Gname    []byte      `json:"gname"`
	Secs     int64       `json:"secs"`
	Nanos    int         `json:"nanos"`
	Devmajor int64       `json:"devmajor"`
	Devminor int64       `json:"devminor"`
	Pax      [][2][]byte `json:"pax"`
}

func dump(archive []byte, out *json.Encoder) (int64, error) {
	source := &tracker{source: bytes.NewReader(archive)}
	reader := tar.NewReader(source)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return source.position, nil
		}
		if err != nil {
			return 0, err
		}
		pax := [][2][]byte{}
		for key, value := range header.PAXRecords {
			pax = append(pax, [2][]byte{[]byte(key), []byte(value)})
		}
		sort.Slice(pax, func(i, j int) bool { return bytes.Compare(pax[i][0], pax[j][0]) < 0 })
		err = out.Encode(entry{
			Position: source.position,
			Type:     header.Typeflag,
			Name:     []byte(header.Name),
			Linkname: []byte(header.Linkname),
			Size:     header.Size,
			Mode:     header.Mode,
			UID:      int64(header.Uid),
			GID:      int64(header.Gid),
			Uname:    []byte(header.Uname),
			Gname:    []byte(header.Gname),
			Secs:     header.ModTime.Unix(),
			Nanos:    header.ModTime.Nanosecond(),
			Devmajor: header.Devmajor,
			Devminor: header.Devminor,
			Pax:      pax,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for {
		var length uint64
		err := binary.Read(in, binary.LittleEndian, &length)
		if err == io.EOF {
			break
		}
		archive := make([]byte, length)
		if err == nil {
			_, err = io.ReadFull(in, archive)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if position, err := dump(archive, encoder); err != nil {
			fmt.Fprintf(out, "error %v\n", err)
		} else {
			fmt.Fprintf(out, "eof %d\n", position)
		}
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
