//! A wipe in each state that a phone can be in.

use super::*;

struct Phone {
    dir: tempfile::TempDir,
}

impl Phone {
    /// A data directory as a node leaves it.
    fn new() -> Self {
        let phone = Self { dir: tempfile::tempdir().unwrap() };
        phone.fill();
        phone
    }

    fn fill(&self) {
        fs::create_dir_all(self.data().join("media/blobs/aa")).unwrap();
        for (name, bytes) in [("key", 32), ("hearth.redb", 100_000), ("run.json", 10), ("media/blobs/aa/aabb", 5_000)] {
            fs::write(self.data().join(name), vec![7; bytes]).unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn targets(&self) -> Targets {
        Targets { keys: vec![self.data().join("key"), self.data().join("key.new")], trees: vec![self.data()] }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn nothing_is_left_of_a_whole_directory_and_twice_is_as_good_as_once() {
    let phone = Phone::new();
    for _ in 0..2 {
        assert!(wipe(&phone.targets()).left.is_empty());
        assert_eq!(phone.names(), [""; 0]);
    }
    phone.fill();
    assert!(wipe(&phone.targets()).left.is_empty());
    assert_eq!(phone.names(), [""; 0]);
}

#[test]
fn single_files_and_directories_go_and_their_neighbours_stay() {
    let phone = Phone::new();
    fs::write(phone.data().join("photo.jpg"), "the person's own").unwrap();
    fs::write(phone.data().join(".hearth-wiped-no-number"), "not ours").unwrap();
    let data = phone.data();
    let trees = ["hearth.redb", "media", "run.json", "archive.hearth"].map(|name| data.join(name)).to_vec();
    assert!(wipe(&Targets { keys: vec![data.join("key")], trees }).left.is_empty());
    let mut names: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".hearth-wiped-no-number", "photo.jpg"]);
}

#[test]
fn key_files_are_overwritten_and_not_only_unlinked() {
    let phone = Phone::new();
    let (key, copy) = (phone.data().join("key"), phone.dir.path().join("second-name"));
    fs::hard_link(&key, &copy).unwrap();
    assert!(wipe(&phone.targets()).left.is_empty());
    assert_eq!(fs::read(copy).unwrap(), [0; 32]);
}

#[test]
fn links_are_removed_and_not_followed() {
    let phone = Phone::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "of another app").unwrap();
    fs::remove_file(phone.data().join("key")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("file"), phone.data().join("key")).unwrap();
    std::os::unix::fs::symlink(outside.path(), phone.data().join("media/link")).unwrap();
    assert!(wipe(&phone.targets()).left.is_empty());
    assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"of another app");
    assert_eq!(phone.names(), [""; 0]);
}

#[test]
fn what_a_killed_wipe_renamed_is_swept_and_the_new_start_is_not() {
    let phone = Phone::new();
    let mut wiped = Wiped::default();
    destroy_keys(&phone.targets(), &mut wiped);
    move_aside(&phone.targets(), &mut wiped);
    // Killed here: the name is free for a new start, which comes before the sweep.
    assert_eq!(phone.names(), [".hearth-wiped-0"]);
    phone.fill();
    assert!(sweep(&phone.targets()).left.is_empty());
    assert_eq!(phone.names(), ["data"]);
    // The second time around, with a leftover in the way.
    move_aside(&phone.targets(), &mut wiped);
    phone.fill();
    assert!(wipe(&phone.targets()).left.is_empty() && wiped.left.is_empty());
    assert_eq!(phone.names(), [""; 0]);
}

#[test]
fn what_cannot_be_removed_is_told_and_stops_nothing() {
    let phone = Phone::new();
    // A directory where a key file should be cannot be unlinked as a file.
    let odd = phone.dir.path().join("odd");
    fs::create_dir_all(odd.join("full")).unwrap();
    let targets = Targets { keys: vec![odd.clone(), phone.data().join("key")], trees: vec![phone.data()] };
    let left = wipe(&targets).left;
    assert_eq!(left.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [odd]);
    assert_eq!(phone.names(), ["odd"]);
}
